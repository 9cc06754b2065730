namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>What a refused caller is told.</summary>
[TestFixture]
internal sealed class RefusalTests
{
    [Test]
    public void QueueFull_Message_SaysLoadAndLimit() =>
        Assert.That(new QueueFullException(7, 8).Message, Is.EqualTo("7 requests are waiting, the limit is 8"));

    [Test]
    public void PromptTooLong_Refusal_CarriesBothNumbers()
    {
        var refusal = new PromptTooLongException(700, 640);

        Assert.That((refusal.Tokens, refusal.TokensMax), Is.EqualTo((700, 640)));
        Assert.That(refusal.Message, Does.Contain("700").And.Contain("640"));
    }
}
