namespace Kimi.Mooncake.Kernels.Tests;

internal sealed class MappedFileTests
{
    private string _path = "";

    [SetUp]
    public void CreatePath() => _path = Path.Combine(Path.GetTempPath(), $"mapped-{Guid.NewGuid():N}");

    [TearDown]
    public void DeleteFile()
    {
        HugePages.AreWanted = true;
        File.Delete(_path);
    }

    [Test]
    public void Bytes_InsideTheFile_AreTheFiles()
    {
        File.WriteAllBytes(_path, [1, 2, 3, 4, 5]);
        using var file = new MappedFile(_path);

        Assert.That(file.LengthBytes, Is.EqualTo(5));
        Assert.That(file.Bytes(1, 4).ToArray(), Is.EqualTo(new byte[] { 2, 3, 4, 5 }));
    }

    [Test]
    public void ReadAhead_OpenOrDisposed_ChangesNothingOrSaysSo()
    {
        File.WriteAllBytes(_path, [1, 2, 3, 4, 5]);
        var file = new MappedFile(_path);

        file.ReadAhead();

        Assert.That(file.Bytes(1, 4).ToArray(), Is.EqualTo(new byte[] { 2, 3, 4, 5 }));
        file.Dispose();
        Assert.That(file.ReadAhead, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void ReadAhead_LargeFileDisposedMeanwhile_EndsOrIsReadWhole([Values] bool hugePages, [Values] bool waits)
    {
        var bytes = new byte[(40 << 20) + 5];
        new Random(3).NextBytes(bytes);
        File.WriteAllBytes(_path, bytes);
        HugePages.AreWanted = hugePages;
        var file = new MappedFile(_path);

        file.ReadAhead();
        var read = waits && file.Bytes(0, bytes.Length).SequenceEqual(bytes);
        file.Dispose();

        Assert.That(read, Is.EqualTo(waits));
        Assert.That(() => file.Bytes(0, 1).Length, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    [Platform("Linux")]
    public void ReleasePages_OfAFile_LeavesLessResidentAndTheSameValues()
    {
        const int Rows = 1 << 10;
        const int Columns = 1 << 12;
        var bytes = new byte[Rows * Columns * sizeof(ushort)];
        new Random(5).NextBytes(bytes);
        File.WriteAllBytes(_path, bytes);
        using var file = new MappedFile(_path);
        var tensor = file.Tensor(0, TensorType.BF16, Rows, Columns);
        Assert.That(file.Bytes(0, bytes.Length).SequenceEqual(bytes));
        var before = ResidentFileBytes();

        tensor.ReleasePages();

        Assert.That(before - ResidentFileBytes(), Is.GreaterThan(bytes.Length / 2));
        Assert.That(file.Bytes(0, bytes.Length).SequenceEqual(bytes));
    }

    [Test]
    public void ReleasePages_OfMemoryThatIsNoFile_KeepsIt()
    {
        using var buffer = new NativeBuffer(1 << 20);
        buffer.Span(0, 1 << 20).Fill(7);

        buffer.Tensor(0, TensorType.BF16, 1 << 9, 1 << 10).ReleasePages();

        Assert.That(buffer.Span(0, 1 << 20).IndexOfAnyExcept((byte)7), Is.EqualTo(-1));
    }

    private static long ResidentFileBytes() => 1024 * long.Parse(
        File.ReadLines("/proc/self/status").Single(line => line.StartsWith("RssFile:", StringComparison.Ordinal))
            .Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1],
        System.Globalization.CultureInfo.InvariantCulture);

    [Test]
    public void Tensor_InsideTheFile_Decodes()
    {
        File.WriteAllBytes(_path, [9, 0x80, 0x3F, 0x00, 0xC0]);
        using var file = new MappedFile(_path);
        var decoded = new float[2];

        file.Tensor(1, TensorType.BF16, 1, 2).DecodeRow(0, decoded);

        Assert.That(decoded, Is.EqualTo(new[] { 1f, -2f }));
    }

    [TestCase(5, 1)]
    [TestCase(-1, 1)]
    [TestCase(0, 6)]
    [TestCase(long.MaxValue, 1)]
    public void Bytes_OutsideTheFile_AreRefused(long offset, int length)
    {
        File.WriteAllBytes(_path, [1, 2, 3, 4, 5]);
        using var file = new MappedFile(_path);

        Assert.That(() => file.Bytes(offset, length).Length, Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Tensor_PastTheEnd_IsRefused()
    {
        File.WriteAllBytes(_path, new byte[16]);
        using var file = new MappedFile(_path);

        Assert.That(() => file.Tensor(4, TensorType.F32, 2, 2), Throws.TypeOf<ArgumentOutOfRangeException>());

        // The product of these is 2^66 bytes, which is 0 in 64 bits.
        Assert.That(() => file.Tensor(0, TensorType.F32, 1L << 60, 16), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Construction_EmptyFile_NamesTheFile()
    {
        File.WriteAllBytes(_path, []);

        Assert.That(() => new MappedFile(_path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(_path));
    }

    [Test]
    public void Construction_MissingFile_Throws() =>
        Assert.That(() => new MappedFile(_path), Throws.InstanceOf<IOException>());

    [Test]
    public void Bytes_AfterDispose_AreRefused()
    {
        File.WriteAllBytes(_path, [1]);
        var file = new MappedFile(_path);
        file.Dispose();

        Assert.That(() => file.Bytes(0, 1).Length, Throws.TypeOf<ObjectDisposedException>());
    }
}
