using Kimi.Mooncake.Core;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Protocol.Tests;

/// <summary>A field out of its range is refused by name.</summary>
[TestFixture]
internal sealed class BadMessageTests
{
    private static IEnumerable<TestCaseData> BadRequests()
    {
        yield return Case("request_id", message => message.RequestId = "");
        yield return Case("request_id", message => message.RequestId = new string('x', 257));
        yield return Case("prompt_tokens", message => message.PromptTokens.Clear());
        yield return Case("prompt_tokens[1]", message => message.PromptTokens.Add(uint.MaxValue));
        yield return Case("max_new_tokens", message => message.MaxNewTokens = 0);
        yield return Case("max_new_tokens", message => message.MaxNewTokens = uint.MaxValue);
        yield return Case("stop_tokens[0]", message => message.StopTokens.Add(uint.MaxValue));
        yield return Case("tenant", message => message.Tenant = new string('x', 121));
        yield return Case("tenant", message => message.Tenant = new string('界', 41));
        yield return Case("prefill_address", message => message.PrefillAddress = new string('x', 1025));
        yield return Case("source_address", message => message.SourceAddress = new string('x', 1025));
        yield return Case("source_blocks", message => message.SourceBlocks = uint.MaxValue);
        yield return Case("cache_salt", message => message.CacheSalt = new string('x', 4097));
        yield return Case("sampling.temperature", message => message.Sampling.Temperature = 2.1f);
        yield return Case("sampling.temperature", message => message.Sampling.Temperature = float.NaN);
        yield return Case("sampling.top_p", message => message.Sampling.TopP = 0);
        yield return Case("sampling.top_k", message => message.Sampling.TopK = uint.MaxValue);
        yield return Case("sampling.min_p", message => message.Sampling.MinP = -0.1f);
        yield return Case("sampling.presence_penalty", message => message.Sampling.PresencePenalty = 3);
        yield return Case("sampling.frequency_penalty", message => message.Sampling.FrequencyPenalty = -3);
        yield return Case("sampling.repetition_penalty", message => message.Sampling.RepetitionPenalty = 0);
        yield return Case("sampling.top_logprobs", message => message.Sampling.TopLogprobs = 21);
        yield return Case("retain", message => message.Retain.Add(
            Enumerable.Repeat(new Wire.RetainedPrefix { Tokens = 1 }, RetentionMessages.RetainedPrefixesMax + 1)));
        yield return Case("retain.tokens", message => message.Retain.Add(new Wire.RetainedPrefix()));
        yield return Case("retention.pin", message => message.Retain.Add(Kept(new() { Pin = (Wire.PinKind)3 })));
        yield return Case(
            "retention.pin_seconds", message => message.Retain.Add(Kept(new() { PinSeconds = uint.MaxValue })));
        yield return Case(
            "retention.lifetime_seconds",
            message => message.Retain.Add(Kept(new() { LifetimeSeconds = BlockRetention.SecondsMax + 1 })));
        yield return Case("retention.priority", message => message.Retain.Add(Kept(new() { Priority = 4 })));
        yield return Case("block_class", message => message.Retain.Add(
            new Wire.RetainedPrefix { Tokens = 1, BlockClass = (Wire.BlockClass)2 }));
        yield return Case(
            "sampling.logit_bias[0].bias",
            message => message.Sampling.LogitBias.Add(new Wire.LogitBias { Bias = float.PositiveInfinity }));
        yield return Case(
            "sampling.logit_bias[1].token_id",
            message => message.Sampling.LogitBias.Add([new Wire.LogitBias(), new Wire.LogitBias()]));

        static Wire.RetainedPrefix Kept(Wire.BlockRetention retention) => new() { Tokens = 1, Retention = retention };
    }

    private static IEnumerable<TestCaseData> BadConstraints()
    {
        yield return Case("constraint.text_schema", message => message.Constraint = new() { TextSchema = "" });
        yield return Case(
            "constraint.text_schema",
            message => message.Constraint = new()
            {
                TextSchema = new string('é', (ConstraintMessages.SchemaBytesMax / 2) + 1),
            });
        yield return Case("constraint.tools", message => message.Constraint = With(Enumerable.Repeat(
            new Wire.ToolGrammar { Name = "x", ParametersSchema = "{}" }, ConstraintMessages.ToolsMax + 1)));
        yield return Case("constraint.tools", message => message.Constraint = With(Enumerable.Repeat(
            new Wire.ToolGrammar
            {
                Name = "x",
                ParametersSchema = new string(' ', ConstraintMessages.SchemaBytesMax),
            },
            9)));
        yield return Case(
            "constraint.tools[0].name",
            message => message.Constraint = With([new Wire.ToolGrammar { ParametersSchema = "{}" }]));
        yield return Case(
            "constraint.tools[0].parameters_schema",
            message => message.Constraint = With([new Wire.ToolGrammar { Name = "x" }]));
        yield return Case(
            "constraint.tool_calls", message => message.Constraint = new() { ToolCalls = (Wire.ToolCallPolicy)3 });
        yield return Case(
            "constraint.first_tool_call_index",
            message => message.Constraint = new() { FirstToolCallIndex = uint.MaxValue });

        static Wire.OutputConstraint With(IEnumerable<Wire.ToolGrammar> tools) => new() { Tools = { tools } };
    }

    private static TestCaseData Case(string field, Action<Wire.GenerateRequest> damage) =>
        new TestCaseData(field, damage).SetArgDisplayNames(field);

    [TestCaseSource(nameof(BadRequests))]
    [TestCaseSource(nameof(BadConstraints))]
    public void Request_FieldOutOfRange_IsRefusedByName(string field, Action<Wire.GenerateRequest> damage)
    {
        var message = new Wire.GenerateRequest
        {
            RequestId = "r",
            PromptTokens = { 1 },
            MaxNewTokens = 1,
            Sampling = new Wire.Sampling(),
        };
        Assert.That(() => GenerationMessages.ToRequest(message), Throws.Nothing);

        damage(message);

        Assert.That(
            () => GenerationMessages.ToRequest(message),
            Throws.InstanceOf<InvalidDataException>().With.Message.StartsWith($"field {field}: "));
    }

    [Test]
    public void Request_WithoutSampling_IsGreedyAndWithEmptySamplingTheDefault()
    {
        var message = new Wire.GenerateRequest { RequestId = "r", PromptTokens = { 1 }, MaxNewTokens = 1 };

        Assert.That(GenerationMessages.ToRequest(message).Sampling, Is.EqualTo(SamplingParameters.Greedy));
        message.Sampling = new Wire.Sampling();
        var sampling = GenerationMessages.ToRequest(message).Sampling;
        Assert.That((sampling.Temperature, sampling.TopP, sampling.RepetitionPenalty), Is.EqualTo((1f, 1f, 1f)));
    }

    [Test]
    public void Event_OutsideTheVocabularyOrEmpty_IsRefused()
    {
        var token = new Wire.GenerateEvent { TokenGenerated = new Wire.TokenGenerated { TokenId = 320 } };
        var finish = new Wire.GenerateEvent { Finished = new Wire.GenerationFinished() };

        Assert.That(Read(token), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("token_id"));
        Assert.That(Read(finish), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("finished.reason"));
        Assert.That(
            Read(new Wire.GenerateEvent()), Throws.InstanceOf<InvalidDataException>().With.Message.Contains("event"));

        static Action Read(Wire.GenerateEvent message) => () => GenerationMessages.ToEvent(message, 320);
    }

    [Test]
    public void Card_WithoutFingerprintOrPossibleLayout_IsRefused()
    {
        var message = new Wire.DescribeResponse { ModelId = "m", ContextLength = 1, VocabularySize = 1 };

        Assert.That(
            () => ModelMessages.ToCard(message),
            Throws.InstanceOf<InvalidDataException>().With.Message.Contains("fingerprint"));
        message.Fingerprint = new string('0', 64);
        Assert.That(
            () => ModelMessages.ToCard(message),
            Throws.InstanceOf<InvalidDataException>().With.Message.Contains("kv_layout"));
        message.KvLayout = new Wire.KvLayout { ElementType = (Wire.KvElementType)99 };
        Assert.That(
            () => ModelMessages.ToCard(message),
            Throws.InstanceOf<InvalidDataException>().With.Message.Contains("F32, BF16 or Q8"));
        message.KvLayout = new Wire.KvLayout
        {
            ElementType = Wire.KvElementType.F32,
            LayerCount = 17,
            LatentRank = (1 << 20) - 2,
            RopeDimension = 2,
            BlockTokens = 64,
        };
        Assert.That(
            () => ModelMessages.ToCard(message),
            Throws.InstanceOf<InvalidDataException>().With.Message.Contains("kv_layout"));
    }
}
