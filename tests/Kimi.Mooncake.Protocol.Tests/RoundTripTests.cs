using System.Text.Json;
using System.Text.Json.Serialization;
using Google.Protobuf;
using Kimi.Mooncake.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Protocol.Tests;

/// <summary>Record to message, to bytes and back is the same record, for records drawn at random.</summary>
[TestFixture]
internal sealed class RoundTripTests
{
    private const int Vocabulary = 200_000;
    private const int Rounds = 200;

    // Lists in records compare by reference; their text compares by content.
    private static readonly JsonSerializerOptions Text =
        new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    [Test]
    public void Request_ThroughBytes_IsTheSame([Range(1, 3)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < Rounds; round++)
        {
            var request = Request(random);

            var bytes = GenerationMessages.ToMessage(request, "").ToByteArray();
            var back = GenerationMessages.ToRequest(Wire.GenerateRequest.Parser.ParseFrom(bytes));

            Assert.That(TextOf(back), Is.EqualTo(TextOf(request)), $"seed {seed}, round {round}");
        }
    }

    [Test]
    public void Event_ThroughBytes_IsTheSame([Range(1, 3)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < Rounds; round++)
        {
            var original = Event(random);

            var bytes = GenerationMessages.ToMessage(original).ToByteArray();
            var back = GenerationMessages.ToEvent(Wire.GenerateEvent.Parser.ParseFrom(bytes), Vocabulary);

            Assert.That(back.GetType(), Is.EqualTo(original.GetType()));
            Assert.That(TextOf(back), Is.EqualTo(TextOf(original)), $"seed {seed}, round {round}");
        }
    }

    [Test]
    public void Attributes_ThroughAPut_AreTheSame([Range(1, 3)] int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < Rounds; round++)
        {
            var attributes = new BlockAttributes(
                $"tenant-{random.Next(5)}", Retention(random), (BlockClass)random.Next(2));

            var bytes = new Wire.BeginPutRequest
            {
                Tenant = attributes.Tenant,
                Retention = RetentionMessages.ToMessage(attributes.Retention),
                BlockClass = RetentionMessages.ToMessage(attributes.Class),
            }.ToByteArray();
            var back = RetentionMessages.ToAttributes(Wire.BeginPutRequest.Parser.ParseFrom(bytes));

            Assert.That(back, Is.EqualTo(attributes), $"seed {seed}, round {round}");
        }
    }

    [Test]
    public void Attributes_OfAPutThatSaysNone_AreTheDefault() =>
        Assert.That(
            RetentionMessages.ToAttributes(new Wire.BeginPutRequest()), Is.EqualTo(BlockAttributes.Default));

    [Test]
    public void Card_ThroughBytes_IsTheSame([Values] KvElementType type)
    {
        var card = new ModelCard(
            "kimi/needle", 262_144, 320, new string('a', 64), new KvLayout(type, 3, 160, 32, 64), 17);

        var bytes = ModelMessages.ToMessage(card).ToByteArray();

        Assert.That(ModelMessages.ToCard(Wire.DescribeResponse.Parser.ParseFrom(bytes)), Is.EqualTo(card));
    }

    private static string TextOf<T>(T record) => JsonSerializer.Serialize(record, record!.GetType(), Text);

    private static GenerationRequest Request(Random random) => new()
    {
        RequestId = $"r{random.Next()}",
        PromptTokens = Tokens(random, 1, 300),
        MaxNewTokens = random.Next(1, int.MaxValue),
        Sampling = new SamplingParameters
        {
            Temperature = random.NextSingle() * SamplingParameters.TemperatureMax,
            TopP = 1 - random.NextSingle(),
            TopK = random.Next(0, 1000),
            MinP = random.NextSingle(),
            PresencePenalty = (random.NextSingle() * 4) - 2,
            FrequencyPenalty = (random.NextSingle() * 4) - 2,
            RepetitionPenalty = 10 * (1 - random.NextSingle()),
            LogitBias =
            [
                .. Tokens(random, 0, 10).Distinct()
                    .Select(token => new KeyValuePair<int, float>(token, (random.NextSingle() * 200) - 100)),
            ],
            Seed = (ulong)random.NextInt64(long.MinValue, long.MaxValue),
            Logprobs = random.Next(2) == 0,
            TopLogprobs = random.Next(SamplingParameters.TopLogprobsMax + 1),
        },
        StopTokens = Tokens(random, 0, 4),
        CacheSalt = random.Next(2) == 0 ? "" : $"mandant-{random.Next()} é",
        GeneratedTokens = [.. Enumerable.Range(0, random.Next(0, 9)).Select(_ => random.Next())],
        Tenant = random.Next(2) == 0 ? "" : $"tenant-{random.Next()}",
        PrefillAddress = random.Next(2) == 0 ? "" : "http://127.0.0.1:9091",
        SourceAddress = random.Next(2) == 0 ? "" : "http://127.0.0.1:9092",
        SourceBlocks = random.Next(0, 4096),
        ReportProgress = random.Next(2) == 0,
        Retain = [.. Enumerable.Range(0, random.Next(4)).Select(_ => new RetainedPrefix(
            random.Next(1, 1_000_000), Retention(random), (BlockClass)random.Next(2)))],
        Constraint = random.Next(2) == 0 ? null : Constraint(random),
    };

    private static OutputConstraint Constraint(Random random) => new()
    {
        StartsInReasoning = random.Next(2) == 0,
        TextSchema = random.Next(2) == 0 ? null : $$"""{"const":{{random.Next()}}}""",
        Tools = [.. Enumerable.Range(0, random.Next(4)).Select(i => new ToolGrammar($"tool-{i}", "true"))],
        ToolCalls = (ToolCallPolicy)random.Next(3),
        ParallelToolCalls = random.Next(2) == 0,
        FirstToolCallIndex = random.Next(),
    };

    private static BlockRetention Retention(Random random) => new(
        (PinKind)random.Next(3),
        random.Next(BlockRetention.SecondsMax + 1),
        random.Next(BlockRetention.SecondsMax + 1),
        random.Next(BlockRetention.PriorityMax + 1));

    private static GenerationEvent Event(Random random)
    {
        var prompt = random.Next(1, 1_000_000);
        return random.Next(4) switch
        {
            0 => new PrefillProgressed(prompt, random.Next(prompt), random.Next(prompt)),
            1 => new PrefillFinished(prompt, random.Next(prompt), random.NextDouble() * 100),
            2 => new TokenGenerated(
                random.Next(Vocabulary),
                -random.NextSingle() * 100,
                [
                    .. Enumerable.Range(0, random.Next(21)).Select(i => new TokenLogprob(
                        random.Next(Vocabulary), i == 7 ? float.NegativeInfinity : -random.NextSingle())),
                ]),
            _ => new GenerationFinished(
                (FinishReason)random.Next(4), random.Next(2) == 0 ? null : $"reason {random.Next()}"),
        };
    }

    private static int[] Tokens(Random random, int min, int max) =>
        [.. Enumerable.Range(0, random.Next(min, max)).Select(_ => random.Next(Vocabulary))];
}
