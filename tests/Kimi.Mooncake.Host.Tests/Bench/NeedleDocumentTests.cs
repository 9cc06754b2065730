using System.Text;
using Kimi.Mooncake.Host.Bench;

namespace Kimi.Mooncake.Host.Tests.Bench;

[TestFixture]
internal sealed class NeedleDocumentTests
{
    // The built-in model looks for the last 24 bytes before the answer.
    private const int WindowBytes = 24;

    [TestCase(1024, 4)]
    [TestCase(1024, 6)]
    [TestCase(1025, 1)]
    [TestCase(2047, 12)]
    [TestCase(32_768, 12)]
    [TestCase(131_072, 200)]
    public void Create_AnySize_IsExactAndAscii(int bytes, int facts)
    {
        var document = NeedleDocument.Create(bytes, facts, seed: 5);

        Assert.That(Encoding.UTF8.GetByteCount(document.Text), Is.EqualTo(bytes));
        Assert.That(document.Text, Has.Length.EqualTo(bytes));
        Assert.That(document.Facts, Has.Count.EqualTo(facts));
        Assert.That(document.Text, Does.EndWith("."));
    }

    [Test]
    public void Create_ManySeeds_EveryQuestionHasOneAnswer()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var document = NeedleDocument.Create(2048, 6, seed);
            foreach (var fact in document.Facts)
            {
                var suffix = fact.Question.Length > WindowBytes ? fact.Question[^WindowBytes..] : fact.Question;
                Assert.That(CountOf(document.Text, suffix), Is.EqualTo(1), $"seed {seed}: {suffix}");
                Assert.That(CountOf(document.Text, fact.Sentence), Is.EqualTo(1), $"seed {seed}: {fact.Sentence}");
                Assert.That(document.Text, Does.Contain($" {fact.Sentence}"), $"seed {seed}: begins a line");
                Assert.That(fact.Answer, Does.Not.Contain(".").And.Not.Contain("\n"), $"seed {seed}");
            }
        }
    }

    [Test]
    public void Create_SameSeed_IsTheSameDocument()
    {
        var first = NeedleDocument.Create(4096, 8, seed: 3);

        Assert.That(NeedleDocument.Create(4096, 8, seed: 3).Text, Is.EqualTo(first.Text));
        Assert.That(NeedleDocument.Create(4096, 8, seed: 4).Text, Is.Not.EqualTo(first.Text));
    }

    [Test]
    public void Create_Facts_LieAllOverTheText()
    {
        var document = NeedleDocument.Create(32_768, 12, seed: 1);

        var places = document.Facts
            .Select(fact => document.Text.IndexOf(fact.Sentence, StringComparison.Ordinal))
            .ToList();

        Assert.That(places, Is.Ordered);
        Assert.That(places[0], Is.LessThan(32_768 / 12));
        Assert.That(places[^1], Is.GreaterThan(32_768 * 11 / 12));
    }

    [TestCase(1000, 1)]
    [TestCase(1024, 100)]
    public void Create_Impossible_IsRefused(int bytes, int facts) =>
        Assert.That(
            () => NeedleDocument.Create(bytes, facts, seed: 1), Throws.InstanceOf<ArgumentOutOfRangeException>());

    [Test]
    public void PeakResidentBytes_OfAStatusFile_IsTheHighWaterMark()
    {
        var file = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.status");
        File.WriteAllText(file, "Name:\tmooncake\nVmPeak:\t  999 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n");

        Assert.That(ChildServer.ReadPeakResidentBytes(file), Is.EqualTo(2048 * 1024));
        Assert.That(ChildServer.ReadPeakResidentBytes(file + ".none"), Is.Zero);
        File.Delete(file);
    }

    private static int CountOf(string text, string part)
    {
        var count = 0;
        for (var at = text.IndexOf(part, StringComparison.Ordinal); at >= 0;
            at = text.IndexOf(part, at + 1, StringComparison.Ordinal))
        {
            count++;
        }

        return count;
    }
}
