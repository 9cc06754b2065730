using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>A scan that ends in a way nobody thought of costs what it did not find, and nothing else.</summary>
public sealed class ScanFailureTests
{
    [Test]
    public async Task Open_ScanEndsUnexpectedly_ServesAndClosesAndOpensAgain()
    {
        using var folder = new TemporaryFolder();
        await using (var first = TestBlocks.OpenSmall(folder.Path))
        {
            TestBlocks.Put(first, 1);
            Assert.That(await first.FlushAsync());
        }

        await File.WriteAllBytesAsync(Path.Combine(folder.Path, "blocks.0.index"), []);
        var log = new FailingLog();
        await using (var store = TestBlocks.Open(TestBlocks.SmallOptions(folder.Path), logger: log))
        {
            Assert.That(store.Scanning.IsCompletedSuccessfully);
            Assert.That(TestBlocks.Put(store, 2), Is.EqualTo(PutResult.Stored));
            await store.CompactAsync(null, CancellationToken.None);
        }

        await using var again = TestBlocks.OpenSmall(folder.Path);
        Assert.That(TestBlocks.Has(again, 2));
        Assert.That(log.Messages.All, Has.Some.Contains("looking for blocks failed: no room for messages"));
    }

    private sealed class FailingLog : ILogger
    {
        private const int SegmentDropped = 2;

        public MessageList Messages { get; } = new();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (eventId.Id == SegmentDropped)
            {
                throw new InvalidOperationException("no room for messages");
            }

            Messages.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
