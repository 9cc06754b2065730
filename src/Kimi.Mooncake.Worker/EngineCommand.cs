using Kimi.Mooncake.Engine;

namespace Kimi.Mooncake.Worker;

/// <summary>What another thread wants of the engine; the engine's thread does it between two steps.</summary>
internal abstract class EngineCommand
{
    /// <summary>Called by the engine's thread. What it throws ends the engine: its accounting is in doubt.</summary>
    public abstract void Run(EngineCore engine);

    /// <summary>Called instead when the engine's thread has ended, by any thread.</summary>
    public abstract void Fail(Exception exception);
}

/// <summary>A command that nobody waits for; without an engine there is nothing left for it to do.</summary>
internal sealed class EnginePost(Action<EngineCore> action) : EngineCommand
{
    public override void Run(EngineCore engine) => action(engine);

    public override void Fail(Exception exception)
    {
    }
}

/// <summary>A command whose caller waits for its answer.</summary>
internal sealed class EngineCall<T>(Func<EngineCore, T> function) : EngineCommand
{
    private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<T> Answer => _answer.Task;

    public override void Run(EngineCore engine)
    {
        try
        {
            _answer.SetResult(function(engine));
        }
        catch (Exception exception)
        {
            _answer.SetException(exception);
            throw;
        }
    }

    public override void Fail(Exception exception) => _answer.TrySetException(exception);
}
