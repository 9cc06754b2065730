using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Transfer;
using Kimi.Mooncake.Worker;
using Kimi.Mooncake.Worker.Peers;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What the benchmark is to do.</summary>
/// <param name="Model">Model file.</param>
/// <param name="Lengths">Tokens of the prompts.</param>
/// <param name="Rounds">Prompts of each length and way.</param>
/// <param name="ChunkTokens">Tokens of a prefill step; 0 is the engine's own.</param>
/// <param name="Threads">Threads of each worker.</param>
/// <param name="SharedMemory">Whether KV goes through shared memory; otherwise through gRPC.</param>
internal sealed record HandOverPlan(
    string Model, IReadOnlyList<int> Lengths, int Rounds, int ChunkTokens, int Threads, bool SharedMemory);

/// <summary>
/// What of a hand-over is left after the prefill when layers are sent as they are computed, against sending everything
/// afterwards. Two workers of one process speak over loopback, so that one clock measures both.
/// </summary>
internal sealed class HandOverBench(HandOverPlan plan, Terminal terminal)
{
    // The compiler looks again at code that ran thirty times.
    private const int WarmUpRounds = 60;
    private const int WarmUpTokens = 200;

    private static readonly TimeProvider Clock = TimeProvider.System;

    private long _prefillEnded;

    public async Task<HandOverReport> RunAsync(CancellationToken cancellationToken)
    {
        var overlapped = await MeasureAsync(overlap: true, cancellationToken).ConfigureAwait(false);
        var afterwards = await MeasureAsync(overlap: false, cancellationToken).ConfigureAwait(false);
        return new HandOverReport
        {
            SharedMemory = plan.SharedMemory,
            Rounds = plan.Rounds,
            Lengths =
            [
                .. plan.Lengths.Select(length => new HandOverFigures
                {
                    PromptTokens = length,
                    Bytes = overlapped[length][0].Bytes,
                    PrefillS = Median(overlapped[length].Select(round => round.PrefillS)),
                    OverlappedS = Median(overlapped[length].Select(round => round.HandOverS)),
                    AfterwardsS = Median(afterwards[length].Select(round => round.HandOverS)),
                }),
            ],
        };
    }

    private static double Median(IEnumerable<double> values) => Distribution.Of(values).P50;

    private async Task<Dictionary<int, List<Round>>> MeasureAsync(bool overlap, CancellationToken cancellationToken)
    {
        using var model = LoadedModel.Open(new ModelOptions { Path = plan.Model });
        var handOver = new HandOverOptions
        {
            Overlap = overlap,
            PrefillEnded = timestamp => Volatile.Write(ref _prefillEnded, timestamp),
        };
        var prefill = await Node.StartAsync(model, plan, handOver, cancellationToken).ConfigureAwait(false);
        await using var ownsPrefill = prefill.ConfigureAwait(false);
        var decode = await Node.StartAsync(model, plan, new HandOverOptions(), cancellationToken).ConfigureAwait(false);
        await using var ownsDecode = decode.ConfigureAwait(false);

        // The first ones pay for connections and compilation, which no server pays that has been running for a while.
        for (var seed = -WarmUpRounds; seed < 0; seed++)
        {
            await HandOverAsync(decode, prefill, Prompt(WarmUpTokens, seed), cancellationToken).ConfigureAwait(false);
        }

        var rounds = new Dictionary<int, List<Round>>();
        foreach (var length in plan.Lengths)
        {
            rounds[length] = [];
            for (var seed = 1; seed <= plan.Rounds; seed++)
            {
                var round = await HandOverAsync(decode, prefill, Prompt(length, seed), cancellationToken)
                    .ConfigureAwait(false);
                terminal.Remark(FormattableString.Invariant(
                    $"{length} tokens, {(overlap ? "overlapped" : "afterwards")}: {1e3 * round.HandOverS:0.00} ms"));
                rounds[length].Add(round);
            }
        }

        return rounds;
    }

    private static int[] Prompt(int length, int seed)
    {
        var random = new Random(HashCode(length, seed));
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(256))];

        static int HashCode(int length, int seed) => (length * 31) + seed;
    }

    private async Task<Round> HandOverAsync(
        Node decode, Node prefill, int[] prompt, CancellationToken cancellationToken)
    {
        var request = new GenerationRequest
        {
            RequestId = "bench",
            PromptTokens = prompt,
            MaxNewTokens = 4,
            PrefillAddress = prefill.Address,
        };
        var start = Clock.GetTimestamp();
        var first = 0L;
        await foreach (var next in decode.Worker.GenerateAsync(request, cancellationToken).ConfigureAwait(false))
        {
            if (next is TokenGenerated && first == 0)
            {
                first = Clock.GetTimestamp();
            }
            else if (next is GenerationFinished { Reason: FinishReason.Failed } failed)
            {
                throw new CommandException($"a hand-over failed: {failed.Message}");
            }
        }

        var ended = Volatile.Read(ref _prefillEnded);
        return new Round(
            (long)prompt.Length * decode.Worker.Model.KvLayout.BytesPerToken,
            Clock.GetElapsedTime(start, ended).TotalSeconds,
            Clock.GetElapsedTime(ended, first).TotalSeconds);
    }

    private readonly record struct Round(long Bytes, double PrefillS, double HandOverS);

    /// <summary>A worker with its server.</summary>
    private sealed class Node : IAsyncDisposable
    {
        private readonly TransferEngine _transfer;
        private readonly PeerChannels _channels;
        private RpcServer _server = null!;

        private Node(LoadedModel model, HandOverPlan plan, HandOverOptions handOver, PeerOptions peer)
        {
            var layout = KimiWorker.LayoutOf(model, new WorkerOptions());
            _channels = new PeerChannels(peer, NullLoggerFactory.Instance);
            _transfer = new TransferEngine(
                new TransferOptions { SharedMemory = plan.SharedMemory }, peer, NullLoggerFactory.Instance, Clock);
            var engine = new EngineOptions();
            Worker = new KimiWorker(
                model,
                new WorkerOptions
                {
                    KvPoolBytes = 2L * plan.Lengths.Max() * layout.BytesPerToken,
                    Threads = plan.Threads,
                },
                plan.ChunkTokens == 0 ? engine : engine with { PrefillChunkTokens = plan.ChunkTokens },
                store: null,
                new StoreConnectorOptions(),
                Clock,
                NullLogger.Instance,
                new WorkerPeers(_transfer, _channels.Get, handOver, new PeerBlocksOptions()));
        }

        public KimiWorker Worker { get; }

        public string Address => _server.Address.AbsoluteUri;

        public static async Task<Node> StartAsync(
            LoadedModel model, HandOverPlan plan, HandOverOptions handOver, CancellationToken cancellationToken)
        {
            var peer = new PeerOptions();
            var node = new Node(model, plan, handOver, peer);
            var prefill = new PrefillService(node.Worker, NullLogger<PrefillService>.Instance);
            RpcService[] services =
            [
                RpcService.Of(prefill, Wire.Prefill.Descriptor),
                RpcService.Of(node._transfer.Service, Wire.Transfer.Descriptor),
            ];
            node._server = await RpcServer.StartAsync(
                new RpcOptions { Port = 0, ShutdownSeconds = 1 }, peer, services, static () => true,
                NullLoggerFactory.Instance, Clock, cancellationToken).ConfigureAwait(false);
            node.Worker.ListensAt(node.Address);
            return node;
        }

        public async ValueTask DisposeAsync()
        {
            await Worker.DisposeAsync().ConfigureAwait(false);
            await _transfer.DisposeAsync().ConfigureAwait(false);
            await _server.DisposeAsync().ConfigureAwait(false);
            _channels.Dispose();
        }
    }
}
