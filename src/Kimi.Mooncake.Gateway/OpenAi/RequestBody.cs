using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http;

namespace Kimi.Mooncake.Gateway.OpenAi;

/// <summary>
/// Reads a request's JSON object within the limits. Memory grows with what arrives, not with what is announced.
/// </summary>
internal sealed class RequestBody : IDisposable
{
    private const int FirstBufferBytes = 16 * 1024;

    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(FirstBufferBytes);
    private int _length;
    private JsonDocument? _document;

    private RequestBody()
    {
    }

    /// <summary>The fields of the body's object.</summary>
    public JsonFields Fields => new(_document!.RootElement, "");

    /// <summary>Reads and parses; the content type is not asked for, as long as the content is JSON.</summary>
    /// <param name="request">The request.</param>
    /// <param name="options">Size and depth limits.</param>
    /// <param name="cancellationToken">The client went away.</param>
    /// <exception cref="ApiException">Compressed, too large, not UTF-8, not JSON, or not an object.</exception>
    public static async Task<RequestBody> ReadAsync(
        HttpRequest request, GatewayOptions options, CancellationToken cancellationToken)
    {
        var encoding = request.Headers.ContentEncoding.ToString();
        if (encoding.Length > 0 && !encoding.Equals("identity", StringComparison.OrdinalIgnoreCase))
        {
            throw ApiException.EncodedBody(encoding);
        }

        if (request.ContentLength > options.RequestBodyBytesMax)
        {
            throw ApiException.BodyTooLarge(options.RequestBodyBytesMax);
        }

        var body = new RequestBody();
        try
        {
            await body.FillAsync(request, options.RequestBodyBytesMax, cancellationToken);
            body.Parse(options.JsonDepthMax);
            return body;
        }
        catch
        {
            body.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _document?.Dispose();
        _document = null;
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
        }
    }

    private async Task FillAsync(HttpRequest request, int bytesMax, CancellationToken cancellationToken)
    {
        while (true)
        {
            var read = await request.BodyReader.ReadAsync(cancellationToken);
            if (read.Buffer.Length > bytesMax - _length)
            {
                // The server reads what follows and drops it, which it can do only once this read has ended.
                request.BodyReader.AdvanceTo(read.Buffer.End);
                throw ApiException.BodyTooLarge(bytesMax);
            }

            Append(read.Buffer);
            request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                return;
            }
        }
    }

    private void Append(in ReadOnlySequence<byte> bytes)
    {
        var needed = _length + (int)bytes.Length;
        if (needed > _buffer.Length)
        {
            // The limit on bodies is at most a gibibyte, so doubling stays within an int.
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, 2 * Math.Min(_buffer.Length, 1 << 29)));
            _buffer.AsSpan(0, _length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }

        bytes.CopyTo(_buffer.AsSpan(_length));
        _length = needed;
    }

    private void Parse(int depthMax)
    {
        ReadOnlySpan<byte> mark = [0xEF, 0xBB, 0xBF];
        var start = _buffer.AsSpan(0, _length).StartsWith(mark) ? mark.Length : 0;
        var text = _buffer.AsMemory(start, _length - start);
        if (!Utf8.IsValid(text.Span))
        {
            throw ApiException.Invalid(null, "invalid_utf8", "The request body is not valid UTF-8.");
        }

        try
        {
            _document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = depthMax });
        }
        catch (JsonException exception)
        {
            throw ApiException.Invalid(null, "invalid_json", Explain(exception));
        }

        if (_document.RootElement.ValueKind != JsonValueKind.Object)
        {
            throw ApiException.Invalid(
                null, "invalid_json",
                $"The request body must be a JSON object, but it is {JsonFields.Describe(_document.RootElement)}.");
        }
    }

    private static string Explain(JsonException exception)
    {
        var reason = exception.Message;
        var position = reason.IndexOf(" LineNumber:", StringComparison.Ordinal);
        reason = position < 0 ? reason : reason[..position];
        return $"The request body is not valid JSON: {reason} " +
            $"(line {exception.LineNumber + 1}, byte {exception.BytePositionInLine + 1}).";
    }
}
