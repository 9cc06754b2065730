using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Worker.Tests;

[TestFixture]
internal sealed class EngineLoopTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Test]
    public async Task Submit_AfterTheEngineFailed_FailsWithTheCause()
    {
        // Arrange
        var loop = Loop(new FaultyConnector { Fault = "ticket 7 is nobody's" });
        loop.Start();
        var first = Submit(loop);
        Assert.That(() => first.Admission.Task.WaitAsync(Patience), Throws.InvalidOperationException);

        // Act
        var second = Submit(loop);

        // Assert
        Assert.That(
            () => second.Admission.Task.WaitAsync(Patience),
            Throws.InvalidOperationException.With.Message.EqualTo("ticket 7 is nobody's"));
        await loop.StopAsync().WaitAsync(Patience);
    }

    [Test]
    public async Task Submit_WhileStopping_EveryRequestEndsOrIsRefused()
    {
        for (var round = 0; round < 50; round++)
        {
            var loop = Loop(new FaultyConnector());
            loop.Start();
            using var barrier = new Barrier(3);
            var submitting = Enumerable.Range(0, 2).Select(_ => Task.Run(() => SubmitUntilStopped(loop, barrier)));
            var tasks = submitting.ToArray();
            barrier.SignalAndWait(Patience);
            await loop.StopAsync().WaitAsync(Patience);

            foreach (var stream in (await Task.WhenAll(tasks).WaitAsync(Patience)).SelectMany(streams => streams))
            {
                var ended = Task.WhenAny(stream.Admission.Task, stream.Events.Completion);
                await ended.WaitAsync(Patience);
            }
        }
    }

    [Test]
    public async Task Wake_AfterStop_DoesNothing()
    {
        var loop = Loop(new FaultyConnector());
        loop.Start();
        await loop.StopAsync().WaitAsync(Patience);

        Assert.That(loop.Wake, Throws.Nothing);
    }

    [Test]
    public async Task CallAsync_OfARunningEngine_AnswersFromItsThread()
    {
        var loop = Loop(new FaultyConnector());
        loop.Start();
        var posted = new TaskCompletionSource<int>();

        loop.Post(engine => posted.SetResult(engine.Status().BlocksTotal));
        var name = await loop.CallAsync(_ => Thread.CurrentThread.Name).WaitAsync(Patience);

        Assert.That(name, Is.EqualTo("engine"));
        Assert.That(await posted.Task.WaitAsync(Patience), Is.EqualTo(8));
        await loop.StopAsync().WaitAsync(Patience);
        Assert.That(() => loop.CallAsync(_ => 0), Throws.InstanceOf<ObjectDisposedException>());
        Assert.That(() => loop.Post(_ => posted.SetResult(0)), Throws.Nothing);
    }

    [Test]
    public async Task CallAsync_ThatThrows_EndsTheEngineAndEveryOtherCall()
    {
        var loop = Loop(new FaultyConnector());
        loop.Start();

        var call = loop.CallAsync<int>(_ => throw new InvalidOperationException("block 3 is lost"));

        Assert.That(() => call.WaitAsync(Patience), Throws.InvalidOperationException);
        Assert.That(
            () => loop.CallAsync(_ => 0).WaitAsync(Patience),
            Throws.InvalidOperationException.With.Message.EqualTo("block 3 is lost"));
        await loop.StopAsync().WaitAsync(Patience);
    }

    private static List<RequestStream> SubmitUntilStopped(EngineLoop loop, Barrier barrier)
    {
        var streams = new List<RequestStream>();
        barrier.SignalAndWait(Patience);
        try
        {
            for (var i = 0; i < 10_000; i++)
            {
                streams.Add(Submit(loop));
            }
        }
        catch (ObjectDisposedException)
        {
            return streams;
        }

        return streams;
    }

    private static EngineLoop Loop(FaultyConnector connector)
    {
        var layout = new KvLayout(KvElementType.F32, 1, 4, 4, 16);
        var engine = new EngineCore(new EngineOptions(), layout, "model", 8, new ConstantRunner(), connector);
        return new EngineLoop(engine, TimeProvider.System, NullLogger.Instance);
    }

    private static RequestStream Submit(EngineLoop loop)
    {
        var request = new GenerationRequest { RequestId = "r", PromptTokens = [1, 2, 3], MaxNewTokens = 2 };
        var stream = new RequestStream(request, CancellationToken.None);
        loop.Submit(stream);
        return stream;
    }

    private sealed class ConstantRunner : IModelRunner
    {
        public void Execute(StepPlan plan, StepResult result) => result.Reset(plan.Count);
    }

    /// <summary>Stores nothing; with a fault, it breaks the engine's thread.</summary>
    private sealed class FaultyConnector : IKvConnector
    {
        public string? Fault { get; init; }

        public int CountStored(ReadOnlySpan<BlockKey> keys) => 0;

        public long BeginLoad(ReadOnlySpan<BlockKey> keys, ReadOnlySpan<int> blockIds) => -1;

        public long BeginSave(
            ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> parentKeys, ReadOnlySpan<BlockKey> groupKeys,
            ReadOnlySpan<int> blockIds, ReadOnlySpan<BlockAttributes> attributes) => -1;

        public void Retain(
            ReadOnlySpan<BlockKey> keys, ReadOnlySpan<BlockKey> groupKeys, in BlockRetention retention,
            BlockClass blockClass) =>
            Assert.Fail("nothing was stored");

        public void Touch(ReadOnlySpan<BlockKey> keys) => Assert.Fail("nothing was stored");

        public bool CanSave => true;

        public bool CanSwap => false;

        public long BeginSwapOut(long sequenceId, ReadOnlySpan<int> blockIds) => -1;

        public long BeginSwapIn(long sequenceId, ReadOnlySpan<int> blockIds) => -1;

        public void DropSwap(long sequenceId) => Assert.Fail("nothing was put aside");

        public bool TryTakeDone(out KvTransferDone done)
        {
            done = default;
            return Fault is null ? false : throw new InvalidOperationException(Fault);
        }
    }
}
