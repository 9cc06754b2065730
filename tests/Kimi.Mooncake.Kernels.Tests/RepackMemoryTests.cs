using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

internal sealed unsafe class RepackMemoryTests
{
    private const long Mebibyte = 1 << 20;

    [Test]
    public void TryTake_BeyondTheBytes_IsNullUntilSomeAreGivenBack()
    {
        using var memory = new RepackMemory(3 * Mebibyte);
        var first = memory.TryTake(2 * Mebibyte);

        var refused = memory.TryTake(2 * Mebibyte);
        first!.Dispose();
        using var second = memory.TryTake(2 * Mebibyte);

        Assert.That(refused, Is.Null);
        Assert.That(second, Is.Not.Null);
        Assert.That(memory.LeftBytes, Is.EqualTo(Mebibyte));
    }

    [Test]
    public void TryTake_NoBytes_IsNull() => Assert.That(new RepackMemory(0).TryTake(1), Is.Null);

    [Test]
    public void Dispose_OfAPieceTwice_GivesItBackOnce()
    {
        using var memory = new RepackMemory(Mebibyte);
        var piece = memory.TryTake(100)!;

        piece.Dispose();
        piece.Dispose();

        Assert.That(memory.LeftBytes, Is.EqualTo(Mebibyte));
        Assert.That(() => (nint)piece.Pointer, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Pieces_TakenAndGivenBackAnyhow_NeverOverlap([Range(1, 10)] int seed)
    {
        var random = new Random(seed);
        var pieces = new List<(RepackMemory.Piece Piece, int Length, byte Mark)>();
        var memory = new RepackMemory(300 * Mebibyte);
        for (var step = 0; step < 60; step++)
        {
            if (pieces.Count > 0 && random.Next(3) == 0)
            {
                var at = random.Next(pieces.Count);
                pieces[at].Piece.Dispose();
                pieces.RemoveAt(at);
                continue;
            }

            // Some are larger than the buffers that small ones share.
            var length = random.Next(1, random.Next(20) == 0 ? 80 << 20 : 1 << 20);
            if (memory.TryTake(length) is { } piece)
            {
                Assert.That((long)piece.Pointer % 64, Is.Zero, $"seed {seed}");
                var mark = (byte)random.Next(256);
                Ends(piece, length, mark);
                pieces.Add((piece, length, mark));
            }
        }

        // Memory outlives who handed it out.
        memory.Dispose();

        foreach (var (piece, length, mark) in pieces)
        {
            Assert.That(piece.Pointer[0], Is.EqualTo(mark), $"seed {seed}");
            Assert.That(piece.Pointer[length - 1], Is.EqualTo(mark), $"seed {seed}");
            piece.Dispose();
        }

        Assert.That(memory.LeftBytes, Is.EqualTo(300 * Mebibyte));
    }

    private static void Ends(RepackMemory.Piece piece, int length, byte mark) =>
        (piece.Pointer[0], piece.Pointer[length - 1]) = (mark, mark);
}
