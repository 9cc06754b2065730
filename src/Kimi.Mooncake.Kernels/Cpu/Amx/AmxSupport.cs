using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>What a processor and its system say about tile registers.</summary>
/// <param name="CpuId">Leaf and subleaf to eax, ebx, ecx, edx.</param>
/// <param name="RequestTiles">Asks the system to let this process use tiles; the error number, or 0.</param>
/// <param name="PermittedState">The state that the process may use, a bit for each part.</param>
/// <param name="Trial">Uses tiles where a fault does no harm; nothing if there was none.</param>
/// <param name="SelfTest">Uses tiles; nothing if the results are right.</param>
internal sealed record AmxMachine(
    Func<int, int, (int Eax, int Ebx, int Ecx, int Edx)> CpuId,
    Func<int> RequestTiles,
    Func<ulong> PermittedState,
    Func<string?> Trial,
    Func<string?> SelfTest);

/// <summary>
/// Whether tile registers can be used: the processor has them in the known size, the system permits them to the
/// process, a child process executes every routine without a fault, and a self-test gives the bits of the portable
/// kernels. Nothing uses a tile before that.
/// </summary>
internal static partial class AmxSupport
{
    private const int FeatureLeaf = 7;
    private const int Bf16Bit = 22; // leaf 7.0, edx
    private const int TileBit = 24; // leaf 7.0, edx
    private const int Int8Bit = 25; // leaf 7.0, edx
    private const int TileLeaf = 0x1d;
    private const int ProductLeaf = 0x1e;
    private const int ArchPrctl = 158; // system call
    private const int RequestPermission = 0x1023;
    private const int GetPermission = 0x1022;
    private const int TileData = 18; // part of the state, as is the configuration before it
    private const ulong TileState = 3UL << (TileData - 1);

    private static readonly Lazy<(bool IsUsable, string? Refusal)> Decision = new(static () =>
        InstructionPaths.IsSupported(InstructionPath.Avx512) ? Decide(ThisMachine()) : (false, null));

    /// <summary>Whether tiles can be used here. Decided once, when first asked.</summary>
    internal static bool IsUsable => Decision.Value.IsUsable;

    /// <summary>Whether tiles can be used and have products of bfloat16 too.</summary>
    internal static bool HasBf16 => IsUsable && HasBf16Products(ThisMachine());

    /// <summary>Why tiles that the processor has are not used; nothing where they are used or not there.</summary>
    internal static string? Refusal => Decision.Value.Refusal;

    /// <summary>What to add to the description of a path that might have been AMX; usually nothing.</summary>
    internal static string Remark(InstructionPath path, string? refusal) =>
        refusal is not null && path >= InstructionPath.Avx512 ? "; " + refusal : "";

    /// <summary>Decides for a machine that has AVX-512. There is a refusal only if the processor has tiles.</summary>
    internal static (bool IsUsable, string? Refusal) Decide(AmxMachine machine)
    {
        var features = machine.CpuId(FeatureLeaf, 0).Edx;
        if (((features >> TileBit) & (features >> Int8Bit) & 1) == 0)
        {
            return (false, null);
        }

        var refusal = WrongSize(machine) ?? NoPermission(machine)
            ?? Failure("trial", machine.Trial) ?? Failure("self-test", machine.SelfTest);
        return (refusal is null, refusal);
    }

    /// <summary>Palette 1 has eight tiles of 16 rows of 64 bytes; products are 16 deep and 64 bytes wide.</summary>
    private static string? WrongSize(AmxMachine machine)
    {
        var leaves = machine.CpuId(0, 0).Eax;
        var tiles = machine.CpuId(TileLeaf, TileConfiguration.Palette);
        var products = machine.CpuId(ProductLeaf, 0).Ebx;
        return leaves >= ProductLeaf
            && (ushort)tiles.Ebx == TileConfiguration.RowBytesMax
            && (tiles.Ebx >>> 16) >= TileConfiguration.Tiles
            && (ushort)tiles.Ecx == TileConfiguration.RowsMax
            && (products & 0xff) >= TileConfiguration.RowsMax
            && (ushort)(products >> 8) >= TileConfiguration.RowBytesMax
            ? null
            : $"AMX tiles of unknown size: {tiles.Ebx:x8}, {tiles.Ecx:x8}, {products:x8}";
    }

    private static string? NoPermission(AmxMachine machine)
    {
        var error = machine.RequestTiles();
        if (error != 0)
        {
            return $"the system does not permit AMX tiles: error {error}";
        }

        var permitted = machine.PermittedState();
        return (permitted & TileState) == TileState
            ? null
            : $"the system does not permit AMX tiles: permitted state is {permitted:x}";
    }

    internal static bool HasBf16Products(AmxMachine machine) =>
        ((machine.CpuId(FeatureLeaf, 0).Edx >> Bf16Bit) & 1) != 0;

    private static string? Failure(string what, Func<string?> test)
    {
        string? failure;
        try
        {
            failure = test();
        }
        catch (PlatformNotSupportedException refused)
        {
            failure = refused.Message;
        }

        return failure is null ? null : $"AMX {what} failed: {failure}";
    }

    /// <summary>The processor and the system that this process runs on: x86-64, Linux.</summary>
    internal static AmxMachine ThisMachine() => new(
        X86Base.CpuId,
        static () => SystemCall(ArchPrctl, RequestPermission, TileData) == 0 ? 0 : Marshal.GetLastPInvokeError(),
        ReadPermitted,
        AmxTrial.Run,
        static () => AmxSelfTest.Run(AmxInt8.For));

    private static unsafe ulong ReadPermitted()
    {
        ulong permitted = 0;
        return SystemCall(ArchPrctl, GetPermission, (nint)(&permitted)) == 0 ? permitted : 0;
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint first, nint second);
}
