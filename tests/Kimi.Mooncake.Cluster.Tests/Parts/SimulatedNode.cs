using Kimi.Mooncake.Conductor;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>A node that says what it is told to say.</summary>
internal sealed class SimulatedNode : INode
{
    public const int VocabularySize = 1000;
    public const int BlockTokens = 16;

    private int _drains;

    public ModelCard Model { get; set; } = ModelOf('a');

    public int BlocksTotal { get; init; } = 4096;

    public int SequencesMax { get; init; } = 32;

    public KvEventFeed? KvEvents { get; init; }

    public NodeLoad State { get; set; } = Idle();

    public int Drains => Volatile.Read(ref _drains);

    public TaskCompletionSource Draining { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public static ModelCard ModelOf(char fingerprint, int blockTokens = BlockTokens) => new(
        "test/kimi", 8192, VocabularySize, new string(fingerprint, 64),
        new KvLayout(KvElementType.F32, 3, 160, 32, blockTokens), 1_700_000_000);

    public static NodeLoad Idle() => new() { Ready = true, BlocksFree = 4096, PrefillCost = new(0, 0.001, 0, 1) };

    public NodeLoad Load() => State with { Draining = State.Draining || Drains > 0 };

    public void BeginDrain()
    {
        Interlocked.Increment(ref _drains);
        Draining.TrySetResult();
    }
}
