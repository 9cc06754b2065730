using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Kernels.Cpu.Generated;

namespace Kimi.Mooncake.Kernels.Cpu.Int8;

/// <summary>Products of few rows of bytes with a stored matrix, without tiles: its type's generated routines.</summary>
internal sealed unsafe class ByteStreams
{
    private const int Alignment = 64;
    private const int LineBytes = 64;

    // What memory brings while it takes to answer; more would not stay in the first-level cache.
    private const int AheadBytes = 28 << 10;

    // More passes over a group take longer than a tile of it; of Q6_K already the second does.
    private const int PassesMax = 3;

    private static readonly Lock Gate = new();
    private static readonly Dictionary<TensorType, MachineCode[]> Known = [];

    private readonly TensorData _stored;
    private readonly MachineCode[] _routines;
    private readonly long _stride;
    private readonly long _groupBytes;
    private readonly int _groupsAhead;
    private readonly int _blocks;
    private readonly int _tableBlocks;
    private readonly bool _turnsScales;

    private ByteStreams(in TensorData stored, InstructionPath path, MachineCode[] routines)
    {
        var once = path == InstructionPath.Amx || stored.Type == TensorType.Q6_K;
        RowsMax = once ? ByteStreamRoutine.RowsMax : PassesMax * ByteStreamRoutine.RowsMax;
        _stored = stored;
        _routines = routines;
        _stride = TensorTypes.RowBytes(stored.Type, stored.Columns);
        _groupBytes = _stride * ByteStreamRoutine.StoredRows;
        _groupsAhead = (int)Math.Max(AheadBytes / _groupBytes, 1);
        _blocks = stored.Columns / TensorTypes.BlockValues(stored.Type);
        _turnsScales = stored.Type == TensorType.Int4Group32 && stored.Scales.Type == TensorType.BF16
            && _blocks >= ByteStreamRoutine.TableBlocks;
        _tableBlocks = stored.Type == TensorType.Int4Group32 && !_turnsScales ? _blocks : 0;
    }

    /// <summary>Most rows that take less time than with tiles, measured; AMX is not kept waiting.</summary>
    internal int RowsMax { get; }

    /// <summary>Bytes of working memory, which begins anywhere.</summary>
    internal long ScratchBytes =>
        Alignment + ByteStreamRoutine.FrameBytes + ((long)_tableBlocks * ByteStreamRoutine.StoredRows * sizeof(float));

    /// <summary>The products with a matrix, or nothing where the type or the path has none.</summary>
    internal static ByteStreams? For(in TensorData weight, InstructionPath path)
    {
        if (path < InstructionPath.Avx512 || !Supports(weight.Type))
        {
            return null;
        }

        lock (Gate)
        {
            if (!Known.TryGetValue(weight.Type, out var routines))
            {
                var type = weight.Type;
                routines = new MachineCode[ByteStreamRoutine.RowsMax + 1];
                for (var rows = 1; rows < routines.Length; rows++)
                {
                    var ofRows = rows;
                    routines[rows] = new MachineCode(c => ByteStreamRoutine.Write(c, type, ofRows));
                }

                Known.Add(type, routines);
            }

            return new ByteStreams(weight, path, routines);
        }
    }

    /// <summary>Multiplies a whole number of groups of stored rows.</summary>
    /// <param name="firstOutput">The first stored row.</param>
    /// <param name="outputs">Stored rows, a multiple of 16, or none.</param>
    /// <param name="x">Rows of bytes.</param>
    /// <param name="firstRow">First of them.</param>
    /// <param name="rows">How many, at most <see cref="RowsMax"/>.</param>
    /// <param name="y">Receives the results.</param>
    /// <param name="ldy">Values from one row of the results to the next.</param>
    /// <param name="scratch"><see cref="ScratchBytes"/> bytes.</param>
    /// <param name="afterwards">What is asked for during the last group; null is the stored rows that follow.</param>
    internal void Multiply(
        int firstOutput, int outputs, ActivationRows x, int firstRow, int rows, float* y, long ldy, byte* scratch,
        byte* afterwards)
    {
        var stream = (ByteStream*)(((nuint)scratch + Alignment - 1) & ~(nuint)(Alignment - 1));
        var groups = outputs / ByteStreamRoutine.StoredRows;
        var step = _tableBlocks == 0 && rows <= ByteStreamRoutine.RowsMax ? groups : 1;
        var passes = (rows + ByteStreamRoutine.RowsMax - 1) / ByteStreamRoutine.RowsMax;
        AskForScales(firstOutput);
        for (var group = 0; group < groups; group += step)
        {
            var first = firstOutput + (group * ByteStreamRoutine.StoredRows);
            var next = group + step == groups && afterwards != null
                ? afterwards
                : At(Math.Min(first + (step * (long)ByteStreamRoutine.StoredRows), _stored.Rows - 1));
            var table = (float*)((byte*)stream + ByteStreamRoutine.FrameBytes);
            DecodeScales(first, table);
            for (var pass = 0; pass < passes; pass++)
            {
                // Passes of like size; the first one asks for what comes next.
                var (row, end) = (rows * pass / passes, rows * (pass + 1) / passes);
                Begin(stream, first, x, firstRow + row);
                stream->Y = y + (row * ldy) + (group * ByteStreamRoutine.StoredRows);
                stream->YStride = ldy * sizeof(float);
                stream->Groups = step;
                stream->Afterwards = next;
                BeginAsking(stream);
                stream->Table = table;
                _routines[end - row].Call(stream);
            }
        }
    }

    /// <summary>
    /// Some groups ahead, whose bytes are enough for the time that memory takes; at the beginning they have been asked
    /// for as what comes afterwards.
    /// </summary>
    private void BeginAsking(ByteStream* stream)
    {
        var left = stream->Groups - _groupsAhead;
        stream->Ahead = left > 0 ? stream->Stored + (_groupsAhead * _groupBytes) : stream->Afterwards;
        stream->AheadLeft = left > 0 ? left + 1 : 0;
    }

    private static bool Supports(TensorType type) => type switch
    {
        TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q4_K or TensorType.Q6_K => true,
        TensorType.Q5_0 or TensorType.Int4Group32 => Avx512Vbmi.IsSupported,
        _ => false,
    };

    /// <summary>Decodes the scales of a group where the routines do not.</summary>
    private void DecodeScales(int first, float* table)
    {
        if (_tableBlocks > 0)
        {
            TileScales.Stored(
                _stored.Scales, first, ByteStreamRoutine.StoredRows, 0, _tableBlocks, 0, (byte*)table,
                ByteStreamRoutine.StoredRows * sizeof(float));
        }
    }

    /// <summary>Where scales of stored rows and of those after the group are, if they are another tensor.</summary>
    private void BeginScales(ByteStream* stream, int first)
    {
        if (_stored.HasScales)
        {
            stream->TableLeft = _turnsScales ? 0 : long.MaxValue;
            stream->OwnScales = _stored.Scales.RowOf(first);
            stream->OwnScalesStride = (long)_stored.Scales.Stride * sizeof(ushort);
            stream->TableAhead = _stored.Scales.RowOf(
                Math.Min(first + (long)ByteStreamRoutine.StoredRows, _stored.Rows - 1));
        }
    }

    /// <summary>
    /// Asks for the scales of the first group, which nobody may have asked for: who did for its weights does not know
    /// where they are.
    /// </summary>
    private void AskForScales(int first)
    {
        if (_turnsScales)
        {
            var end = _stored.Scales.RowOf(first + (long)ByteStreamRoutine.StoredRows);
            for (var at = _stored.Scales.RowOf(first); at < end; at += LineBytes)
            {
                Sse.Prefetch0(at);
            }
        }
    }

    private byte* At(long row) => _stored.At(0, 0) + (row * _stride);

    private void Begin(ByteStream* stream, int firstOutput, ActivationRows x, int row)
    {
        var block = (long)row * x.BlockStride;
        *stream = new ByteStream
        {
            Stored = At(firstOutput),
            StoredStride = _stride,
            Blocks = _blocks,
            X = x.Int8 + ((long)row * x.Int8Stride),
            Scales = x.Scales + block,
            Sums = _stored.Type switch
            {
                TensorType.Q4_K => x.ScaledSums + block,
                TensorType.Q6_K => x.NegatedHalfSums + (2 * block),
                _ => x.NegatedSums + block,
            },
            BlockStride = (long)x.BlockStride * sizeof(float),
        };
        BeginScales(stream, firstOutput);
    }
}
