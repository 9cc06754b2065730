using Kimi.Mooncake.Kernels.Cpu.Generated;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Amx;

/// <summary>Executes the routine for a number of rows.</summary>
/// <param name="rows">Rows of a tile, 1 to 16.</param>
/// <param name="arguments">Its arguments, which it changes.</param>
internal unsafe delegate void AmxRoutine(int rows, AmxArguments* arguments);

/// <summary>The assembled routines for tiles of a kind. The processor must have AMX to run one.</summary>
internal sealed unsafe class AmxCode
{
    private readonly MachineCode[] _routines;

    internal AmxCode(TileKind kind) => _routines =
    [
        .. Enumerable.Range(1, AmxShape.RowsMax).Select(rows =>
            new MachineCode(assembler => AmxAssembly.Write(assembler, AmxShape.Of(kind, rows)))),
    ];

    /// <summary>Where the routine for a number of rows is.</summary>
    internal nint Address(int rows) => _routines[rows - 1].Address;

    internal void Call(int rows, AmxArguments* arguments) => _routines[rows - 1].Call(arguments);
}
