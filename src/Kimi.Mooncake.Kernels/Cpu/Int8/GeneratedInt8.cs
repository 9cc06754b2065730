using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Generated routines of 512 bits for 1 to 6 rows at once by 32 outputs.</summary>
internal sealed unsafe class GeneratedInt8 : Int8Kernel
{
    private const int RowsMax = 6;
    private static readonly Lock Gate = new();
    private static readonly Dictionary<TileFormat, GeneratedInt8> Known = [];

    private readonly int _sums;
    private readonly MachineCode[] _routines = new MachineCode[RowsMax + 1];

    private GeneratedInt8(TileFormat format)
    {
        _sums = format.Kind == TileKind.Halves ? 2 : 1;
        for (var rows = 1; rows <= RowsMax; rows++)
        {
            var routine = new Int8Routine(format, rows);
            _routines[rows] = new MachineCode(routine.Write);
        }
    }

    /// <summary>The routines for a form; assembled once for the process.</summary>
    internal static GeneratedInt8 For(TileFormat format)
    {
        lock (Gate)
        {
            if (!Known.TryGetValue(format, out var kernel))
            {
                kernel = new GeneratedInt8(format);
                Known.Add(format, kernel);
            }

            return kernel;
        }
    }

    internal override void Multiply(in Int8Run run)
    {
        // The last rows in two calls of like size: seven are four and three, not six and one.
        var (times, last) = Math.DivRem(run.Rows, RowsMax);
        var split = times > 0 && last > 0;
        times -= split ? 1 : 0;
        last += split ? RowsMax : 0;
        var upper = split ? (last + 1) / 2 : last;
        Call(run, 0, RowsMax, times);
        Call(run, times * RowsMax, (int)upper, 1);
        Call(run, (times * RowsMax) + upper, (int)(last - upper), 1);
    }

    private void Call(in Int8Run run, long first, int rows, long times)
    {
        if (rows > 0 && times > 0)
        {
            var call = run.From(first, _sums);
            call.Rows = times;
            _routines[rows].Call(&call);
        }
    }
}
