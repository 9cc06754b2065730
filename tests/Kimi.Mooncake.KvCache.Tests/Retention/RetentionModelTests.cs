using FsCheck;
using FsCheck.Fluent;
using Kimi.Mooncake.KvCache.Retention;

namespace Kimi.Mooncake.KvCache.Tests.Retention;

/// <summary>
/// Random operations on a <see cref="RetentionIndex{TData}"/> beside the model. FsCheck makes the scripts, and
/// prints the seed and the shortest one for which index and model differ.
/// </summary>
[TestFixture]
internal sealed class RetentionModelTests
{
    private const int StepsMin = 34_000;

    [TestCase(EvictionPolicyKind.Lru)]
    [TestCase(EvictionPolicyKind.Lfu)]
    [TestCase(EvictionPolicyKind.Cost)]
    public void RetentionIndex_RandomOperations_AgreesWithTheModel(EvictionPolicyKind policy)
    {
        var steps = 0;
        var reached = new int[RetentionScript.Operations];
        while (steps < StepsMin)
        {
            Check.One(
                Config.QuickThrowOnFailure.WithMaxTest(20).WithStartSize(300).WithEndSize(6_000),
                Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), bytes =>
                {
                    var script = new RetentionScript(policy, bytes);
                    script.Run(reached);
                    steps += script.Steps;
                }));
        }

        Assert.That(reached, Is.All.GreaterThan(StepsMin / 1000), "every operation took place");
    }
}
