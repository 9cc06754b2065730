using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Kimi.Mooncake.Host.Bench;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Chaos;

/// <summary>Clients that ask all the time, judge every byte of the answers, and sometimes leave.</summary>
internal sealed class ChaosClients
{
    private const int SharedDocuments = 6;
    private const int FactsPlanted = 6;
    private const double OwnDocumentShare = 0.3;
    private const int PartsBeforeAbortMax = 40;
    private const int ProblemsKeptMax = 20;

    private static readonly TimeSpan PauseAfterError = TimeSpan.FromMilliseconds(250);

    private readonly ChaosPlan _plan;
    private readonly CompletionClient _client;
    private readonly Terminal _terminal;
    private readonly NeedleDocument[] _documents;
    private readonly ConcurrentDictionary<string, int> _errors = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _problems = new();
    private readonly ConcurrentBag<double> _times = [];
    private int _next;
    private int _right;
    private int _aborted;
    private int _wrong;
    private int _broken;
    private int _stuck;

    public ChaosClients(ChaosPlan plan, CompletionClient client, Terminal terminal)
    {
        _plan = plan;
        _client = client;
        _terminal = terminal;
        var random = new Random(plan.Seed);
        _documents = [.. Enumerable.Range(0, SharedDocuments).Select(_ => NewDocument(random))];
    }

    public int Right => _right;

    /// <summary>Asks until the token is cancelled; requests under way are then still waited for.</summary>
    public Task RunAsync(CancellationToken ending, CancellationToken cancellationToken) => Task.WhenAll(
        Enumerable.Range(0, _plan.Clients).Select(_ => RunClientAsync(ending, cancellationToken)));

    /// <summary>One more request, which must succeed.</summary>
    public async Task<bool> AskOnceMoreAsync(CancellationToken cancellationToken)
    {
        var fact = _documents[0].Facts[0];
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_plan.RequestTimeMax);
        try
        {
            var request = StreamRequest.About(_documents[0].Text, fact.Question);
            var asked = await Asker.AskAsync(_client, request, fact.Question, observe: null, limit.Token)
                .ConfigureAwait(false);
            return asked.Answer == fact.Sentence;
        }
        catch (ServerException fault)
        {
            Note($"the request afterwards: {fault.Message}");
            return false;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            Note($"the request afterwards: not over after {_plan.RequestTimeMax.TotalSeconds} s");
            return false;
        }
    }

    /// <summary>Puts what the clients saw into a report.</summary>
    public ChaosReport AddTo(ChaosReport report) => report with
    {
        Requests = _next,
        AnswersRight = _right,
        Aborted = _aborted,
        AnswersWrong = _wrong,
        Broken = _broken,
        Stuck = _stuck,
        CleanErrors = new SortedDictionary<string, int>(_errors, StringComparer.Ordinal),
        Problems = [.. _problems],
        E2eS = Distribution.Of(_times),
    };

    private async Task RunClientAsync(CancellationToken ending, CancellationToken cancellationToken)
    {
        while (!ending.IsCancellationRequested)
        {
            if (!await RunRequestAsync(Interlocked.Increment(ref _next) - 1, cancellationToken).ConfigureAwait(false))
            {
                await Task.Delay(PauseAfterError, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <returns>Whether it did not fail.</returns>
    private async Task<bool> RunRequestAsync(int index, CancellationToken cancellationToken)
    {
        // Everything about a request follows from its index, whichever client makes it.
        var random = new Random(unchecked((_plan.Seed * 1_000_003) + index));
        var document = random.NextDouble() < OwnDocumentShare
            ? NewDocument(random)
            : _documents[random.Next(_documents.Length)];
        var fact = document.Facts[random.Next(document.Facts.Count)];
        var aborts = random.NextDouble() < _plan.AbortShare;
        var partsLeft = aborts ? random.Next(PartsBeforeAbortMax) : int.MaxValue;
        var request = StreamRequest.About(document.Text, fact.Question) with { ReportsProgress = true };
        var answer = new StringBuilder();
        var start = Stopwatch.GetTimestamp();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_plan.RequestTimeMax);
        try
        {
            await Asker.AskAsync(_client, request, fact.Question, Observe, limit.Token).ConfigureAwait(false);
            _times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            return Judge(index, fact, answer.ToString(), isWhole: true);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return partsLeft < 0
                ? CountAborted(index, fact, answer.ToString())
                : CountStuck(index, fact, answer.ToString());
        }
        catch (ServerException fault)
        {
            return CountError(index, fact, answer.ToString(), fault);
        }

        void Observe(StreamPart part)
        {
            if (part is TextPart text)
            {
                answer.Append(text.Text);
            }

            if (partsLeft-- <= 0)
            {
                limit.Cancel();
                limit.Token.ThrowIfCancellationRequested();
            }
        }
    }

    private bool CountAborted(int index, NeedleFact fact, string answer)
    {
        Interlocked.Increment(ref _aborted);
        return Judge(index, fact, answer, isWhole: false);
    }

    private bool CountStuck(int index, NeedleFact fact, string answer)
    {
        Interlocked.Increment(ref _stuck);
        Note($"request {index}: not over after {_plan.RequestTimeMax.TotalSeconds} s");
        return Judge(index, fact, answer, isWhole: false);
    }

    private bool CountError(int index, NeedleFact fact, string answer, ServerException fault)
    {
        if (fault.IsClean)
        {
            _errors.AddOrUpdate(KindOf(fault), 1, (_, count) => count + 1);
        }
        else
        {
            Interlocked.Increment(ref _broken);
            Note($"request {index}: {fault.Message}");
        }

        Judge(index, fact, answer, isWhole: false);
        return false;
    }

    /// <summary>A whole answer must be the planted sentence, and a part of one its beginning.</summary>
    private bool Judge(int index, NeedleFact fact, string answer, bool isWhole)
    {
        if (isWhole ? answer == fact.Sentence : fact.Sentence.StartsWith(answer, StringComparison.Ordinal))
        {
            if (isWhole)
            {
                Interlocked.Increment(ref _right);
            }

            return true;
        }

        Interlocked.Increment(ref _wrong);
        Note($"request {index}: WRONG: expected '{fact.Sentence}', got {(isWhole ? "" : "a part ")}'{answer}'");
        return false;
    }

    // Numbers and addresses would make a kind of every error.
    private static string KindOf(ServerException fault)
    {
        var kind = string.Concat(fault.Message.Where(character => !char.IsAsciiDigit(character)));
        return fault.Status is { } status ? $"{status}: {kind}" : kind;
    }

    private void Note(string problem)
    {
        _terminal.Remark(problem);
        if (_problems.Count < ProblemsKeptMax)
        {
            _problems.Enqueue(problem);
        }
    }

    private NeedleDocument NewDocument(Random random) => NeedleDocument.Create(
        random.Next(_plan.DocumentTokensMax / 4, _plan.DocumentTokensMax + 1), FactsPlanted, random.Next());
}
