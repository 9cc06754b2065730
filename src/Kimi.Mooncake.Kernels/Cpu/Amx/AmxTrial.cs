using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels.Cpu.Generated;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>
/// Every assembled routine once, over zeros, in a child process: an instruction that the processor or the system does
/// not allow ends that one.
/// </summary>
internal static unsafe class AmxTrial
{
    private const int SecondsMax = 10;
    private const int Tiles = 2;
    private const int Steps = 5;
    private const int InputStride = 256;
    private const int ResultStride = 128;
    private const int OperandBytes = Tiles * AmxShape.RowsMax * InputStride;
    private const int ConfigurationsAt = OperandBytes + AmxAssembly.ScratchBytes;
    private static readonly TileKind[] Kinds = Enum.GetValues<TileKind>();

    /// <summary>Nothing if all routines returned, or what happened.</summary>
    internal static string? Run()
    {
        var count = Kinds.Length * AmxShape.RowsMax;
        var callBytes = TileConfiguration.SizeBytes + sizeof(AmxArguments);
        var sizeBytes = (nuint)(ConfigurationsAt + (count * callBytes));
        var memory = (byte*)NativeMemory.AlignedAlloc(sizeBytes, TileConfiguration.SizeBytes);
        try
        {
            NativeMemory.Clear(memory, sizeBytes);
            var configurations = memory + ConfigurationsAt;
            var arguments = (AmxArguments*)(configurations + (count * TileConfiguration.SizeBytes));
            var calls = new TrialCall[count];
            for (var i = 0; i < count; i++)
            {
                var (kind, rows) = (Kinds[i / AmxShape.RowsMax], 1 + (i % AmxShape.RowsMax));
                var configuration = configurations + (i * TileConfiguration.SizeBytes);
                TileConfiguration.Write(
                    new Span<byte>(configuration, TileConfiguration.SizeBytes), rows, AmxShape.Of(kind, rows).Depth);
                arguments[i] = OverZeros(memory, configuration);
                calls[i] = new TrialCall(AmxInt8.CodeFor(kind).Address(rows), (nint)(arguments + i));
            }

            return ChildTrial.Run(calls, SecondsMax);
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    /// <summary>All operands are the same zeros, large enough for each of them.</summary>
    private static AmxArguments OverZeros(byte* memory, byte* configuration) => new()
    {
        Configuration = configuration,
        Inputs = (sbyte*)memory,
        InputStride = InputStride,
        Weights = (sbyte*)memory,
        Scales = (float*)memory,
        Mins = (float*)memory,
        RowScales = (float*)memory,
        Steps = Steps,
        RowTiles = Tiles,
        Results = (float*)memory,
        ResultStride = ResultStride,
        Sums = (int*)(memory + OperandBytes),
    };
}
