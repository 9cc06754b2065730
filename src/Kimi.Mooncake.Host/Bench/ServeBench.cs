using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Conversations about shared documents, all at once, each asking its questions one after the other. Every answer is
/// judged, and what the requests report as cached is held against what the workers counted.
/// </summary>
internal sealed class ServeBench
{
    private const int FaultsKeptMax = 10;
    private const int MarksPerRun = 10;

    private readonly ServePlan _plan;
    private readonly CompletionClient _client;
    private readonly ClusterLoad _load;
    private readonly Terminal _terminal;
    private readonly ConversationScript _script;
    private readonly ConcurrentBag<ServedTurn> _served = [];
    private readonly ConcurrentQueue<string> _faults = new();
    private long _start;
    private int _answered;
    private int _failed;
    private int _stuck;

    /// <param name="plan">What is said.</param>
    /// <param name="client">The gateway.</param>
    /// <param name="load">The processes whose counters and pools are looked at.</param>
    /// <param name="terminal">Is told the progress.</param>
    public ServeBench(ServePlan plan, CompletionClient client, ClusterLoad load, Terminal terminal)
    {
        _plan = plan;
        _client = client;
        _load = load;
        _terminal = terminal;
        _script = new ConversationScript(plan);
    }

    /// <summary>Answered requests so far, in no order.</summary>
    public IReadOnlyCollection<ServedTurn> Served => _served;

    /// <summary>Holds all conversations.</summary>
    public async Task<ServeReport> RunAsync(CancellationToken cancellationToken)
    {
        // The name of the model is asked for once, before the clock starts.
        await _client.ModelIdAsync(cancellationToken).ConfigureAwait(false);
        var before = await _load.CountersAsync(cancellationToken).ConfigureAwait(false);
        _start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, _plan.Conversations).Select(
            conversation => HoldAsync(conversation, cancellationToken))).ConfigureAwait(false);
        var duration = Stopwatch.GetElapsedTime(_start).TotalSeconds;
        var left = await _load.UntilEmptyAsync(cancellationToken).ConfigureAwait(false);
        var after = await _load.CountersAsync(cancellationToken).ConfigureAwait(false);
        return Report(duration, after - before, left);
    }

    /// <summary>Compares the answers of two finished runs.</summary>
    public ServeComparison Compare(ServeBench other, ServeReport otherReport)
    {
        var mine = Answers();
        var theirs = other.Answers();
        var different = mine.Keys.Union(theirs.Keys).Order()
            .Where(key => mine.GetValueOrDefault(key) is not { } here || here != theirs.GetValueOrDefault(key))
            .ToList();
        return new ServeComparison
        {
            With = other._client.Address.AbsoluteUri,
            AnswersEqual = mine.Keys.Union(theirs.Keys).Count() - different.Count,
            AnswersDifferent = different.Count,
            Differences =
            [
                .. different.Take(FaultsKeptMax).Select(key =>
                    $"conversation {key.Conversation} turn {key.Turn}: '{mine.GetValueOrDefault(key)}', " +
                    $"there '{theirs.GetValueOrDefault(key)}'"),
            ],
            Other = otherReport,
        };
    }

    private Dictionary<(int Conversation, int Turn), string> Answers() =>
        _served.ToDictionary(turn => (turn.Conversation, turn.Turn), turn => turn.Asked.Answer);

    /// <summary>One conversation; it ends with a request that failed, because the next would lack its answer.</summary>
    private async Task HoldAsync(int conversation, CancellationToken cancellationToken)
    {
        var earlier = new List<ChatTurn>();
        for (var turn = 0; turn < _plan.Turns; turn++)
        {
            var request = _script.Request(conversation, turn, [.. earlier]);
            var answer = await AskAsync(conversation, turn, request, cancellationToken).ConfigureAwait(false);
            if (answer is null)
            {
                return;
            }

            earlier.Add(new ChatTurn("user", request.Text));
            earlier.Add(new ChatTurn("assistant", answer));
        }
    }

    private async Task<string?> AskAsync(
        int conversation, int turn, StreamRequest request, CancellationToken cancellationToken)
    {
        var fact = _script.Fact(conversation, turn);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(_plan.RequestSecondsMax));
        try
        {
            var result = await Asker.AskAsync(_client, request, fact.Question, observe: null, limit.Token)
                .ConfigureAwait(false);
            var isRight = result.Answer == fact.Sentence;
            _served.Add(new ServedTurn(
                conversation, turn, Stopwatch.GetElapsedTime(_start).TotalSeconds, isRight, result));
            if (!isRight)
            {
                Note($"conversation {conversation} turn {turn}: expected '{fact.Sentence}', got '{result.Answer}'");
            }

            ShowProgress();
            return result.Answer;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            Interlocked.Increment(ref _stuck);
            Note($"conversation {conversation} turn {turn}: not over after {_plan.RequestSecondsMax} s");
            return null;
        }
        catch (ServerException fault)
        {
            Interlocked.Increment(ref _failed);
            Note($"conversation {conversation} turn {turn}: {fault.Message}");
            return null;
        }
    }

    private void ShowProgress()
    {
        var answered = Interlocked.Increment(ref _answered);
        var all = _plan.Conversations * _plan.Turns;
        if (answered == all || answered % Math.Max(1, all / MarksPerRun) == 0)
        {
            _terminal.Remark(string.Create(
                CultureInfo.InvariantCulture,
                $"{Stopwatch.GetElapsedTime(_start).TotalSeconds:0.0} s: {answered} of {all} requests answered"));
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

    private ServeReport Report(double duration, ClusterCounters counted, IReadOnlyList<string> left)
    {
        var served = _served.ToList();
        var prompt = served.Sum(turn => (long)turn.Asked.PromptTokens);
        var cached = served.Sum(turn => (long)turn.Asked.CachedTokens);
        var good = served.Count(turn => turn.IsRight
            && turn.Asked.TtftS * 1000 <= _plan.TtftMsMax && turn.MeanTbtS * 1000 <= _plan.TbtMsMax);
        return new ServeReport
        {
            Conversations = _plan.Conversations,
            Turns = _plan.Turns,
            Documents = _plan.Documents,
            DocumentTokens = _plan.DocumentTokens,
            Seed = _plan.Seed,
            Answered = served.Count,
            AnswersRight = served.Count(turn => turn.IsRight),
            AnswersWrong = served.Count(turn => !turn.IsRight),
            Failed = _failed,
            Stuck = _stuck,
            Faults = [.. _faults],
            DurationS = duration,
            TtftS = Distribution.Of(served.Select(turn => turn.Asked.TtftS)),
            TtftFirstTurnS = Distribution.Of(served.Where(turn => turn.Turn == 0).Select(turn => turn.Asked.TtftS)),
            TtftLaterTurnsS = Distribution.Of(served.Where(turn => turn.Turn > 0).Select(turn => turn.Asked.TtftS)),
            TbtS = Distribution.Of(served.SelectMany(turn => turn.Asked.GapsS)),
            E2eS = Distribution.Of(served.Select(turn => turn.Asked.TotalS)),
            RequestsPerS = served.Count / duration,
            CompletionTokensPerS = served.Sum(turn => (long)turn.Asked.CompletionTokens) / duration,
            GoodputRequestsPerS = good / duration,
            GoodputDefinition = string.Create(
                CultureInfo.InvariantCulture,
                $"right answers per second with TTFT <= {_plan.TtftMsMax} ms " +
                $"and mean time between tokens <= {_plan.TbtMsMax} ms"),
            PromptTokens = prompt,
            CachedTokens = cached,
            PrefillTokensReported = prompt - cached,
            PrefillTokensCounted = counted.PrefillTokens,
            CachedTokensTrue = prompt - cached == counted.PrefillTokens,
            SettledTokens = counted.SettledTokens,
            PoolsEmpty = left.Count == 0,
            Left = left,
        };
    }
}
