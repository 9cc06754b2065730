using System.Runtime.Intrinsics;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <content>Results of ranges to those of rows.</content>
internal sealed unsafe partial class AbsorbedAttention
{
    private const int Lanes = MicroKernels.Lanes;

    /// <summary>All rows' results of a head: ranges merged, then raised from the latent space.</summary>
    private void RaiseTask(int head, int member)
    {
        var latents = _members + (member * _memberStride);
        var outputs = latents + ((long)_q.Rows * _sumStride);
        var scratch = outputs + ((long)_q.Rows * _weight.RaisedColumns);
        for (var row = 0; row < _q.Rows; row++)
        {
            Merge(row, head, latents + ((long)row * _sumStride), scratch);
        }

        var rows = new MatrixView(latents, _q.Rows, _shape.LatentRank, _sumStride);
        var output = _output.ColumnSlice(head * _shape.ValueDimension, _shape.ValueDimension);
        var next = AfterRaised(head);
        if (_weight.RaisedColumns == output.Columns)
        {
            _weight.Raise(head, rows, _inputs[member], output.Data, output.Stride, scratch, next);
            return;
        }

        _weight.Raise(head, rows, _inputs[member], outputs, _weight.RaisedColumns, scratch, next);
        for (var row = 0; row < _q.Rows; row++)
        {
            new ReadOnlySpan<float>(outputs + ((long)row * _weight.RaisedColumns), output.Columns)
                .CopyTo(output.Row(row));
        }
    }

    /// <summary>What the owner of a head reads after it: the next head, or its part of the values.</summary>
    private byte* AfterAbsorbed(int head) =>
        LastOf(head, PaddedHeads) is { } member ? _team.Reads.After(member) : _weight.KeyStart(head + 1);

    /// <summary>What the owner of a head reads after it: the next head, or its part of the next job.</summary>
    private byte* AfterRaised(int head) =>
        LastOf(head, _shape.HeadCount) is { } member ? _team.Reads.After(member) : _weight.ValueStart(head + 1);

    /// <summary>The member whose range of tasks ends with one; null where none does.</summary>
    private int? LastOf(int task, int tasks)
    {
        for (var member = 0; member < _team.MemberCount; member++)
        {
            if (task + 1 == TeamBoard.FirstOf(member + 1, _team.MemberCount, tasks))
            {
                return member;
            }
        }

        return null;
    }

    /// <summary>The latent of a head, from the ranges of its row in ascending order.</summary>
    private void Merge(int row, int head, float* ordered, float* merged)
    {
        var (first, end) = (_ranges.First(row), _ranges.First(row + 1));
        var sums = _partials + ((long)head * _sumStride);
        var state = _partials + ((long)PaddedHeads * _sumStride) + head;
        var max = float.NegativeInfinity;
        for (var range = first; range < end; range++)
        {
            max = MathF.Max(max, state[range * PartialStride]);
        }

        new Span<float>(merged, _sumStride).Clear();
        var sum = 0f;
        for (var range = first; range < end; range++)
        {
            var at = range * PartialStride;
            var factor = VectorMath.Exp2(Vector512.Create(state[at] - max));
            sum = MathF.FusedMultiplyAdd(state[at + PaddedHeads], factor.ToScalar(), sum);
            for (var j = 0; j < _sumStride; j += Lanes)
            {
                Vector512.FusedMultiplyAdd(Vector512.Load(sums + at + j), factor, Vector512.Load(merged + j))
                    .Store(merged + j);
            }
        }

        for (var j = 0; j < _sumStride; j += Lanes)
        {
            (Vector512.Load(merged + j) / Vector512.Create(sum)).Store(merged + j);
        }

        _tiles.CopyOrdered(merged, ordered, _sumStride);
    }
}
