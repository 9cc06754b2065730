using Grpc.Core;
using Grpc.Net.Client.Configuration;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Which calls a channel repeats by itself: those that change nothing and did not reach their process. Each failure
/// draws on the channel's budget, so that a process in trouble is not asked ever more often.
/// </summary>
internal static class PeerRetries
{
    private static readonly (string Service, string Method)[] Repeatable =
    [
        (Wire.Generation.Descriptor.FullName, nameof(Wire.Generation.GenerationClient.Describe)),
        (Wire.Generation.Descriptor.FullName, nameof(Wire.Generation.GenerationClient.GetStatus)),
        (Wire.KvBlocks.Descriptor.FullName, nameof(Wire.KvBlocks.KvBlocksClient.Match)),
        (Wire.Conductor.Descriptor.FullName, nameof(Wire.Conductor.ConductorClient.ListNodes)),
        (Wire.Transfer.Descriptor.FullName, nameof(Wire.Transfer.TransferClient.Hello)),
        (Grpc.Health.V1.Health.Descriptor.FullName, nameof(Grpc.Health.V1.Health.HealthClient.Check)),
    ];

    /// <summary>The configuration of one channel; null where nothing is to be repeated.</summary>
    public static ServiceConfig? Of(PeerOptions options)
    {
        if (options.AttemptsMax == 1)
        {
            return null;
        }

        var repeated = new MethodConfig
        {
            RetryPolicy = new RetryPolicy
            {
                MaxAttempts = options.AttemptsMax,
                InitialBackoff = TimeSpan.FromMilliseconds(options.RetryDelayMs),
                MaxBackoff = TimeSpan.FromMilliseconds(Math.Max(options.RetryDelayMs, options.RetryDelayMsMax)),
                BackoffMultiplier = 2,
                RetryableStatusCodes = { StatusCode.Unavailable },
            },
        };
        foreach (var (service, method) in Repeatable)
        {
            repeated.Names.Add(new MethodName { Service = service, Method = method });
        }

        return new ServiceConfig
        {
            MethodConfigs = { repeated },
            // Calls are repeated while more than half of the tokens are there.
            RetryThrottling = new RetryThrottlingPolicy
            {
                MaxTokens = 2 * options.RetryBudget,
                TokenRatio = options.RetryBudgetRefill,
            },
        };
    }
}
