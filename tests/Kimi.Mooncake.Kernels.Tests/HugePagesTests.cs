using System.Globalization;

namespace Kimi.Mooncake.Kernels.Tests;

[TestFixture]
internal sealed unsafe class HugePagesTests
{
    private const string Maps = "/proc/self/smaps";
    private const string AskedFor = "hg";

    [TearDown]
    public void Restore() => HugePages.AreWanted = true;

    [TestCase(true, 16 << 20, true)]
    [TestCase(false, 16 << 20, false)]
    public void NativeBuffer_OfMegabytes_AsksForThemWhereWanted(bool wanted, int sizeBytes, bool asked)
    {
        if (!File.Exists(Maps) || !Directory.Exists("/sys/kernel/mm/transparent_hugepage"))
        {
            Assert.Ignore("skipped: the system has no huge pages to ask for");
        }

        HugePages.AreWanted = wanted;
        using var buffer = new NativeBuffer(sizeBytes);

        Assert.That(
            FlagsOf((nuint)buffer.Pointer + ((nuint)sizeBytes / 2)).Contains(AskedFor), Is.EqualTo(asked));
        buffer.Span(0, sizeBytes).Fill(7);
        Assert.That(buffer.Span(0, sizeBytes).IndexOfAnyExcept((byte)7), Is.Negative);
    }

    [TestCase("always madvise [never]", "refused by the system")]
    [TestCase("[always] madvise never", "given by the system to all memory")]
    [TestCase("always [madvise] never", "asked for by buffers of 4 MiB and more")]
    public void Describe_SettingOfTheSystem_SaysWhatComesOfIt(string setting, string expected) =>
        Assert.That(HugePages.Describe(setting), Does.StartWith(expected));

    [Test]
    public void Describe_NotWanted_IsOff()
    {
        HugePages.AreWanted = false;

        Assert.That(HugePages.Describe(), Is.EqualTo("off"));
    }

    [Test]
    public void ResidentMemory_AfterWritingABuffer_HasGrownByIt()
    {
        const int SizeBytes = 64 << 20;
        if (ResidentMemory.Read() is not { } before)
        {
            Assert.Ignore("skipped: the system does not tell");
            return;
        }

        using var buffer = new NativeBuffer(SizeBytes);
        buffer.Span(0, SizeBytes).Fill(1);
        var after = ResidentMemory.Read()!;

        Assert.That(after.AnonymousBytes - before.AnonymousBytes, Is.GreaterThan(SizeBytes / 2));
        Assert.That(after.TotalBytes, Is.GreaterThanOrEqualTo(after.AnonymousBytes));
    }

    /// <summary>The flags of the mapping that an address is in.</summary>
    private static string[] FlagsOf(nuint address)
    {
        var isInside = false;
        foreach (var line in File.ReadLines(Maps))
        {
            var first = line.Split(' ')[0];
            var bounds = first.Split('-');
            if (bounds.Length == 2 && !first.EndsWith(':'))
            {
                isInside = address >= Hexadecimal(bounds[0]) && address < Hexadecimal(bounds[1]);
            }
            else if (isInside && line.StartsWith("VmFlags:", StringComparison.Ordinal))
            {
                return line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            }
        }

        return [];
    }

    private static nuint Hexadecimal(string text) =>
        nuint.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}
