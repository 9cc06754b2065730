using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Kimi.Mooncake.Host.Client;

/// <summary>Speaks to one server. Requests may run at the same time.</summary>
internal sealed class CompletionClient : IDisposable
{
    private const string EndOfStream = "[DONE]";
    private const int ErrorBodyCharactersMax = 2_000;

    private readonly HttpClient _http;
    private string? _modelId;

    /// <param name="address">Root of the server, such as <c>http://127.0.0.1:8080</c>.</param>
    /// <param name="apiKey">Proves who asks; null where the server needs no key.</param>
    /// <param name="cacheNamespace">Shared namespace of cached prefixes; null for the caller's own.</param>
    public CompletionClient(Uri address, string? apiKey = null, string? cacheNamespace = null)
    {
        Address = address;
        _http = new HttpClient
        {
            BaseAddress = new Uri(address.AbsoluteUri.TrimEnd('/') + "/"),
            // A long prompt may be prefilled for minutes; the caller cancels.
            Timeout = Timeout.InfiniteTimeSpan,
        };
        if (apiKey is not null)
        {
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
        }

        if (cacheNamespace is not null)
        {
            _http.DefaultRequestHeaders.Add("x-cache-namespace", cacheNamespace);
        }
    }

    public Uri Address { get; }

    /// <summary>Whether something answers <c>/health</c> within <paramref name="patience"/>.</summary>
    public async Task<bool> IsThereAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        try
        {
            using var response = await _http.GetAsync("health", limit.Token).ConfigureAwait(false);
            return response.IsSuccessStatusCode;
        }
        catch (Exception fault) when (fault is HttpRequestException
            || (fault is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            return false;
        }
    }

    /// <summary>What <c>/health</c> and <c>/metrics</c> say of the load.</summary>
    public async Task<ServerLoad> LoadAsync(CancellationToken cancellationToken)
    {
        var health = await GetAsync("health", cancellationToken).ConfigureAwait(false);
        return ServerLoad.Parse(health, await MetricsAsync(cancellationToken).ConfigureAwait(false));
    }

    /// <summary>The figures of <c>/metrics</c>.</summary>
    public async Task<MetricsText> MetricsAsync(CancellationToken cancellationToken)
    {
        using var message = new HttpRequestMessage(HttpMethod.Get, "metrics");
        using var response = await SendAsync(message, HttpCompletionOption.ResponseContentRead, cancellationToken)
            .ConfigureAwait(false);
        return MetricsText.Parse(await response.Content.ReadAsStringAsync(cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Name of the first model that the server has.</summary>
    public async Task<string> ModelIdAsync(CancellationToken cancellationToken)
    {
        if (_modelId is null)
        {
            var models = await GetAsync("v1/models", cancellationToken).ConfigureAwait(false);
            try
            {
                _modelId = models.GetProperty("data")[0].GetProperty("id").GetString();
            }
            catch (Exception fault) when (fault is KeyNotFoundException or IndexOutOfRangeException
                or InvalidOperationException or ArgumentOutOfRangeException)
            {
                throw new ServerException($"{Address}v1/models lists no model");
            }
        }

        return _modelId!;
    }

    /// <summary>What <c>/v1/savings</c> says of the caller.</summary>
    public Task<JsonElement> SavingsAsync(CancellationToken cancellationToken) =>
        GetAsync("v1/savings", cancellationToken);

    /// <summary>Sends a request and yields what the server says, as it says it.</summary>
    /// <exception cref="ServerException">The server refused, or broke off.</exception>
    public async IAsyncEnumerable<StreamPart> StreamAsync(
        StreamRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var model = await ModelIdAsync(cancellationToken).ConfigureAwait(false);
        using var message = new HttpRequestMessage(HttpMethod.Post, request.Path)
        {
            Content = JsonContent.Create(request.ToJson(model)),
        };
        using var response = await SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellationToken)
            .ConfigureAwait(false);
        var body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        await using var ownedBody = body.ConfigureAwait(false);

        var ended = false;
        await foreach (var data in ReadEventsAsync(body, cancellationToken).ConfigureAwait(false))
        {
            if (data == EndOfStream)
            {
                ended = true;
                break;
            }

            foreach (var part in StreamChunk.Parse(data))
            {
                yield return part;
            }
        }

        if (!ended)
        {
            throw new ServerException("the server closed the stream before the answer was complete");
        }
    }

    public void Dispose() => _http.Dispose();

    /// <summary>The data of each event, with a broken connection told in the server's terms.</summary>
    private static async IAsyncEnumerable<string> ReadEventsAsync(
        Stream body, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var events = SseParser.Create(body).EnumerateAsync(cancellationToken).GetAsyncEnumerator(cancellationToken);
        await using var owned = events.ConfigureAwait(false);
        while (true)
        {
            try
            {
                if (!await events.MoveNextAsync().ConfigureAwait(false))
                {
                    yield break;
                }
            }
            catch (Exception fault) when (fault is IOException or HttpRequestException)
            {
                throw new ServerException($"the connection broke: {fault.Message}");
            }

            yield return events.Current.Data;
        }
    }

    private async Task<JsonElement> GetAsync(string path, CancellationToken cancellationToken)
    {
        using var message = new HttpRequestMessage(HttpMethod.Get, path);
        using var response = await SendAsync(message, HttpCompletionOption.ResponseContentRead, cancellationToken)
            .ConfigureAwait(false);
        try
        {
            return await response.Content.ReadFromJsonAsync<JsonElement>(cancellationToken).ConfigureAwait(false);
        }
        catch (JsonException fault)
        {
            throw new ServerException($"{Address}{path} did not answer with JSON: {fault.Message}");
        }
    }

    private async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage message, HttpCompletionOption completion, CancellationToken cancellationToken)
    {
        // Sending makes the address of the message absolute.
        var path = message.RequestUri;
        HttpResponseMessage response;
        try
        {
            response = await _http.SendAsync(message, completion, cancellationToken).ConfigureAwait(false);
        }
        catch (HttpRequestException fault)
        {
            throw new ServerException($"no answer from {Address}: {fault.Message}");
        }

        if (response.IsSuccessStatusCode)
        {
            return response;
        }

        using (response)
        {
            var body = await response.Content.ReadAsStringAsync(cancellationToken).ConfigureAwait(false);
            throw new ServerException(
                $"{Address}{path} answered {(int)response.StatusCode}: {ErrorMessage(body)}")
            {
                IsClean = true,
                Status = (int)response.StatusCode,
            };
        }
    }

    private static string ErrorMessage(string body)
    {
        try
        {
            using var document = JsonDocument.Parse(body);
            if (document.RootElement.TryGetProperty("error", out var error)
                && error.TryGetProperty("message", out var text))
            {
                return text.ToString();
            }
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException)
        {
            // Not an error object: the body itself is the best that there is to show.
            return Shorten(body);
        }

        return Shorten(body);
    }

    private static string Shorten(string text) =>
        text.Length <= ErrorBodyCharactersMax ? text : text[..ErrorBodyCharactersMax] + "…";
}
