using System.Collections.Concurrent;
using System.Diagnostics;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>What the soak is to do.</summary>
/// <param name="Clients">Requests in progress at once.</param>
/// <param name="Requests">Requests in all.</param>
/// <param name="DisconnectShare">Share of the requests that are broken off.</param>
/// <param name="Seed">Makes documents, choices and moments of disconnection.</param>
internal sealed record SoakPlan(int Clients, int Requests, double DisconnectShare, int Seed);

/// <summary>
/// Many streaming clients ask about a few shared documents and about documents of their own; some leave in the middle.
/// Every answer that ends is checked, and the server must be empty afterwards.
/// </summary>
internal sealed class SoakBench
{
    private const int SharedDocuments = 6;
    private const int DocumentBytesMin = 1024;
    private const int DocumentBytesMax = 2048;
    private const int FactsPlanted = 4;
    private const double OwnDocumentShare = 0.25;
    private const int PartsBeforeDisconnectMax = 24;
    private const int MillisecondsBeforeDisconnectMax = 1500;
    private const int FaultsKeptMax = 10;

    private static readonly TimeSpan RequestTimeMax = TimeSpan.FromSeconds(300);
    private static readonly TimeSpan DrainTimeMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan DrainPoll = TimeSpan.FromMilliseconds(100);

    private readonly SoakPlan _plan;
    private readonly CompletionClient _client;
    private readonly Terminal _terminal;
    private readonly NeedleDocument[] _documents;
    private readonly ConcurrentBag<double> _firstTokens = [];
    private readonly ConcurrentQueue<string> _faults = new();
    private int _next;
    private int _right;
    private int _wrong;
    private int _disconnected;
    private int _failed;
    private int _stuck;

    public SoakBench(SoakPlan plan, CompletionClient client, Terminal terminal)
    {
        _plan = plan;
        _client = client;
        _terminal = terminal;
        var random = new Random(plan.Seed);
        _documents = [.. Enumerable.Range(0, SharedDocuments).Select(_ => NewDocument(random))];
    }

    private enum Ending
    {
        Answered,
        AfterParts,
        AfterTime,
    }

    /// <param name="peakResidentBytes">Reads the server's peak memory at the end.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    public async Task<SoakReport> RunAsync(Func<long> peakResidentBytes, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, _plan.Clients).Select(_ => RunClientAsync(cancellationToken)))
            .ConfigureAwait(false);
        var duration = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var load = await DrainAsync(cancellationToken).ConfigureAwait(false);
        var firstTokens = _firstTokens.Order().ToList();
        return new SoakReport
        {
            Clients = _plan.Clients,
            Requests = _plan.Requests,
            Seed = _plan.Seed,
            Finished = _right + _wrong,
            Disconnected = _disconnected,
            AnswersRight = _right,
            AnswersWrong = _wrong,
            Failed = _failed,
            Stuck = _stuck,
            Faults = [.. _faults],
            PoolEmpty = load.IsEmpty,
            LoadAfterwards = load,
            TtftP50S = Quantile(firstTokens, 0.5),
            TtftP95S = Quantile(firstTokens, 0.95),
            DurationS = duration,
            RequestsPerS = _plan.Requests / duration,
            PeakRssBytes = peakResidentBytes(),
        };
    }

    private async Task RunClientAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var index = Interlocked.Increment(ref _next) - 1;
            if (index >= _plan.Requests)
            {
                return;
            }

            await RunRequestAsync(index, cancellationToken).ConfigureAwait(false);
            if ((index + 1) % Math.Max(1, _plan.Requests / 10) == 0)
            {
                _terminal.Remark($"{index + 1} of {_plan.Requests} requests");
            }
        }
    }

    private async Task RunRequestAsync(int index, CancellationToken cancellationToken)
    {
        // Everything about a request follows from its index, whichever client makes it.
        var random = new Random(unchecked((_plan.Seed * 1_000_003) + index));
        var document = random.NextDouble() < OwnDocumentShare
            ? NewDocument(random)
            : _documents[random.Next(_documents.Length)];
        var fact = document.Facts[random.Next(document.Facts.Count)];
        var ending = random.NextDouble() >= _plan.DisconnectShare
            ? Ending.Answered
            : random.Next(2) == 0 ? Ending.AfterParts : Ending.AfterTime;
        var partsLeft = ending == Ending.AfterParts ? random.Next(PartsBeforeDisconnectMax) : int.MaxValue;

        using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        leaving.CancelAfter(ending == Ending.AfterTime
            ? TimeSpan.FromMilliseconds(random.Next(MillisecondsBeforeDisconnectMax))
            : RequestTimeMax);
        try
        {
            var request = StreamRequest.About(document.Text, fact.Question) with { ReportsProgress = true };
            var result = await Asker.AskAsync(_client, request, fact.Question, LeaveInTime, leaving.Token)
                .ConfigureAwait(false);
            _firstTokens.Add(result.TtftS);
            Judge(index, fact, result);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            if (ending == Ending.Answered)
            {
                Interlocked.Increment(ref _stuck);
                Note($"request {index}: not over after {RequestTimeMax.TotalSeconds} s");
            }
            else
            {
                Interlocked.Increment(ref _disconnected);
            }
        }
        catch (ServerException fault)
        {
            Interlocked.Increment(ref _failed);
            Note($"request {index}: {fault.Message}");
        }

        void LeaveInTime(StreamPart part)
        {
            if (partsLeft-- <= 0)
            {
                leaving.Cancel();
                leaving.Token.ThrowIfCancellationRequested();
            }
        }
    }

    private void Judge(int index, NeedleFact fact, AskResult result)
    {
        if (result.Completion == fact.Answer)
        {
            Interlocked.Increment(ref _right);
            return;
        }

        Interlocked.Increment(ref _wrong);
        Note($"request {index}: expected '{fact.Sentence}', got '{result.Answer}'");
    }

    private async Task<ServerLoad> DrainAsync(CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            var load = await _client.LoadAsync(cancellationToken).ConfigureAwait(false);
            if (load.IsEmpty || Stopwatch.GetElapsedTime(start) > DrainTimeMax)
            {
                return load;
            }

            await Task.Delay(DrainPoll, cancellationToken).ConfigureAwait(false);
        }
    }

    private void Note(string fault)
    {
        _terminal.Remark(fault);
        if (_faults.Count < FaultsKeptMax)
        {
            _faults.Enqueue(fault);
        }
    }

    private static NeedleDocument NewDocument(Random random) =>
        NeedleDocument.Create(random.Next(DocumentBytesMin, DocumentBytesMax + 1), FactsPlanted, random.Next());

    private static double Quantile(List<double> ordered, double share) =>
        ordered.Count == 0 ? 0 : ordered[(int)Math.Min(ordered.Count - 1, share * ordered.Count)];
}
