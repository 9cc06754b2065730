using Kimi.Mooncake.Core;
using Kimi.Mooncake.Engine;
using Kimi.Mooncake.Protocol;
using Kimi.Mooncake.Transfer;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Worker;

/// <summary>What a decode worker asks of a prefill worker.</summary>
/// <param name="Request">The request as the decode worker got it.</param>
/// <param name="Destination">Where the decode worker takes frames.</param>
/// <param name="Target">Its reservation: slot i is block i of the prompt.</param>
/// <param name="FirstPosition">KV before it is there already and is not sent; a multiple of the block size.</param>
internal sealed record PrefillOrder(
    GenerationRequest Request, string Destination, ReservationId Target, int FirstPosition);

/// <summary>Orders and results of prefills between their messages and the worker's types; checked on arrival.</summary>
internal static class PrefillMessages
{
    public static Wire.PrefillRequest ToMessage(PrefillOrder order, ModelCard model) => new()
    {
        Request = GenerationMessages.ToMessage(order.Request, model.Fingerprint),
        KvLayout = model.KvLayout.Describe(),
        DestinationAddress = order.Destination,
        Reservation = order.Target.Id,
        Generation = order.Target.Generation,
        FirstPosition = (uint)order.FirstPosition,
    };

    /// <summary>The order of a message.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static PrefillOrder ToOrder(Wire.PrefillRequest message, int blockTokens)
    {
        var request = GenerationMessages.ToRequest(
            message.Request ?? throw new InvalidDataException("field request: none; expected one"));
        var firstPositionMax = (uint)((request.PromptTokens.Count - 1) / blockTokens * blockTokens);
        if (message.FirstPosition > firstPositionMax || message.FirstPosition % blockTokens != 0)
        {
            throw new InvalidDataException(
                $"field first_position: {message.FirstPosition}; expected a multiple of {blockTokens} up to " +
                $"{firstPositionMax}");
        }

        if (message.DestinationAddress.Length is 0 or > GenerationMessages.AddressCharsMax)
        {
            throw new InvalidDataException(
                $"field destination_address: text of {message.DestinationAddress.Length} characters; expected 1 to " +
                $"{GenerationMessages.AddressCharsMax}");
        }

        return new PrefillOrder(
            request,
            message.DestinationAddress,
            new ReservationId(message.Reservation, message.Generation),
            (int)message.FirstPosition);
    }

    public static Wire.PrefillEvent ToMessage(PrefillProgressed progress) =>
        new() { Progressed = GenerationMessages.ToMessage(progress).PrefillProgressed };

    public static Wire.PrefillEvent ToMessage(PrefilledPrompt prompt)
    {
        var computed = new Wire.PrefillComputed
        {
            PromptTokens = (uint)prompt.PromptTokens,
            CachedTokens = (uint)prompt.CachedTokens,
            SecondsSaved = prompt.SecondsSaved,
        };
        if (prompt.FirstToken is { } token)
        {
            computed.FirstToken = GenerationMessages.ToMessage(
                new TokenGenerated(token.TokenId, token.Logprob, token.TopLogprobs ?? [])).TokenGenerated;
        }
        else
        {
            computed.Finished = GenerationMessages.ToMessage(new GenerationFinished(FinishReason.Stop)).Finished;
        }

        return new Wire.PrefillEvent { Computed = computed };
    }

    /// <summary>The progress of a message.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static PrefillProgressed ToProgress(Wire.PrefillProgressed message) =>
        (PrefillProgressed)GenerationMessages.ToEvent(
            new Wire.GenerateEvent { PrefillProgressed = message }, vocabularySize: int.MaxValue);

    /// <summary>A measured time; one that cannot be is cut to a day, since it is only reported.</summary>
    public static TimeSpan ToTime(ulong microseconds) =>
        TimeSpan.FromMicroseconds(Math.Min(microseconds, TimeSpan.MicrosecondsPerDay));

    /// <summary>What the prefill of the cached tokens would have taken.</summary>
    /// <exception cref="InvalidDataException">It is no time.</exception>
    public static double ToSecondsSaved(Wire.PrefillComputed message) =>
        FieldCheck.Measure(message.SecondsSaved, "computed.seconds_saved");

    /// <summary>The result of a message.</summary>
    /// <exception cref="InvalidDataException">A field is out of its range; the message names it.</exception>
    public static ImportedPrefill ToImport(Wire.PrefillComputed message, int promptTokens, int vocabularySize)
    {
        if (message.PromptTokens != promptTokens || message.CachedTokens >= promptTokens)
        {
            throw new InvalidDataException(
                $"field computed: {message.PromptTokens} prompt tokens, {message.CachedTokens} cached; expected " +
                $"{promptTokens}, fewer cached");
        }

        if (message.FirstToken is null == message.Finished is null)
        {
            throw new InvalidDataException("field computed: expected either first_token or finished");
        }

        var cached = (int)message.CachedTokens;
        if (message.Finished is not null)
        {
            return message.Finished.Reason == Wire.FinishReason.Stop
                ? new ImportedPrefill(cached, null, FinishReason.Stop)
                : throw new InvalidDataException($"field computed.finished: {message.Finished.Reason}; expected STOP");
        }

        var token = (TokenGenerated)GenerationMessages.ToEvent(
            new Wire.GenerateEvent { TokenGenerated = message.FirstToken }, vocabularySize);
        return new ImportedPrefill(
            cached,
            new SampledToken(
                token.TokenId, token.Logprob, token.TopLogprobs.Count == 0 ? null : [.. token.TopLogprobs]),
            null);
    }
}

/// <summary>A prompt computed for another worker.</summary>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CachedTokens">Tokens whose prefill was skipped.</param>
/// <param name="SecondsSaved">What that would have taken.</param>
/// <param name="FirstToken">The token after it; null when a stop token was drawn.</param>
internal sealed record PrefilledPrompt(
    int PromptTokens, int CachedTokens, double SecondsSaved, SampledToken? FirstToken);
