using System.Runtime.Intrinsics;
using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu.Absorbed;
using Kimi.Mooncake.Kernels.Cpu.Amx;
using Kimi.Mooncake.Kernels.Cpu.Bf16;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// Kernels for processors: vectors of 16 singles (two or four machine vectors where the processor has shorter ones),
/// tiles that fit its caches, and a team of threads. Owns its threads and scratch.
/// </summary>
public sealed class CpuKernels : IKernels
{
    private readonly PackBudget _budget;
    private readonly RepackMemory _repacked;
    private readonly MatMulJob _matMul;
    private readonly FeedForwardJob _feedForward;
    private readonly RowJobs _rows;
    private readonly RopeJob _rope;
    private readonly PrefillAttention _prefill;
    private readonly DecodeAttention _decode;
    private readonly Bf16Kernels? _bf16;
    private readonly NarrowBf16Packer? _narrow;
    private readonly Bf16PrefillAttention? _bf16Prefill;
    private readonly AbsorbedAttention? _bf16Decode;
    private readonly AbsorbedAttention? _byteDecode;

    /// <summary>Starts the threads.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range.</exception>
    /// <exception cref="ArgumentException">There are fewer processors than threads to pin.</exception>
    /// <exception cref="PlatformNotSupportedException">
    /// The processor or the system lacks the path, or threads cannot be pinned here.
    /// </exception>
    public CpuKernels(CpuOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegative(options.PackBytesMax, nameof(options));
        ArgumentOutOfRangeException.ThrowIfNegative(options.RepackBytesMax, nameof(options));
        if (!InstructionPaths.IsSupported(options.Path))
        {
            throw new PlatformNotSupportedException(
                $"instruction path {options.Path}: this machine has {InstructionPaths.Best} at best"
                + AmxSupport.Remark(options.Path, AmxSupport.Refusal));
        }

        // First, as it can fail: nothing else holds threads yet.
        var latent = options.Arithmetic == CpuArithmetic.Fast ? new LatentKernels(options.Path) : null;
        var bytes = latent is null ? null : new ByteKernels(options.Path);
        _bf16 = latent is null ? null : new Bf16Kernels(options.Path);
        Options = options;
        _budget = new PackBudget(options.PackBytesMax);
        _repacked = new RepackMemory(options.RepackBytesMax);
        Team = new WorkerTeam(options.ThreadCount, options.PinThreads);
        _matMul = new MatMulJob(Team);
        _feedForward = new FeedForwardJob(Team);
        _rows = new RowJobs(Team);
        _rope = new RopeJob(Team);
        _prefill = new PrefillAttention(Team);
        _decode = new DecodeAttention(Team);
        if (latent is not null)
        {
            _narrow = new NarrowBf16Packer(Team, _bf16!, _repacked);
            _bf16Prefill = new Bf16PrefillAttention(Team, _bf16!);
            _bf16Decode = new AbsorbedAttention(Team, new LatentTiles(latent));
            _byteDecode = new AbsorbedAttention(Team, new ByteTiles(bytes!));
        }
    }

    /// <summary>Kernels of <see cref="CpuArithmetic.Exact"/>.</summary>
    /// <param name="threadCount">Threads that a call uses, 1 to 1024; 0 is one for each core.</param>
    /// <param name="packBytesMax">Bytes that all unpacked weights may take at once, at least 0.</param>
    public CpuKernels(int threadCount = 0, long packBytesMax = CpuOptions.DefaultPackBytesMax)
        : this(new CpuOptions { ThreadCount = threadCount, PackBytesMax = packBytesMax })
    {
    }

    /// <inheritdoc />
    public string Name
    {
        get
        {
            var vectorBits = Vector512.IsHardwareAccelerated ? 512
                : Vector256.IsHardwareAccelerated ? 256
                : Vector128.IsHardwareAccelerated ? 128 : 0;
            var remark = AmxSupport.Remark(Options.Path, AmxSupport.Refusal);
            return vectorBits == 0
                ? $"cpu (no vectors, {ThreadCount} threads{remark})"
                : $"cpu ({vectorBits}-bit vectors, {ThreadCount} threads{remark})";
        }
    }

    /// <inheritdoc />
    public int ThreadCount => Team.MemberCount;

    /// <summary>How the kernels compute.</summary>
    public CpuOptions Options { get; }

    /// <summary>Bytes that weights may still be repacked into.</summary>
    internal long RepackBytesLeft => _repacked.LeftBytes;

    /// <summary>The threads, for work that is to be measured beside the kernels.</summary>
    internal WorkerTeam Team { get; }

    /// <inheritdoc />
    public LinearWeight Pack(TensorData weight, bool isPrecise = false)
    {
        if (isPrecise && _bf16 is not null && weight.Type == TensorType.BF16)
        {
            return new Bf16PartsWeight(PackBf16(weight, _bf16));
        }

        var stored = PackStored(weight);
        return stored is StoredWeight && _budget.TryTake(PackedWeight.SizeBytes(weight))
            ? new PackedWeight(weight, _budget)
            : stored;
    }

    /// <inheritdoc />
    public AttentionWeight PackAttention(AttentionProjections projections)
    {
        ArgumentNullException.ThrowIfNull(projections);
        if (_bf16Decode is not null && !projections.HasFullPrecision)
        {
            return new RoundedAttentionWeight(projections, PackStored);
        }

        return _budget.TryTake(PackedAttentionWeight.SizeBytes(projections.Shape))
            ? new PackedAttentionWeight(projections, _budget)
            : new StoredAttentionWeight(projections);
    }

    /// <inheritdoc />
    public void MatMul(in MatrixView x, LinearWeight weight, in MatrixView y)
    {
        KernelArguments.CheckMatMul(x, KernelArguments.Own<PanelWeight>(weight), y);
        _matMul.Run(x, [new LinearProduct(weight, y)]);
    }

    /// <inheritdoc />
    public void MatMulMany(in MatrixView x, params ReadOnlySpan<LinearProduct> products)
    {
        foreach (ref readonly var product in products)
        {
            KernelArguments.CheckMatMul(x, KernelArguments.Own<PanelWeight>(product.Weight), product.Y);
        }

        _matMul.Run(x, products);
    }

    /// <inheritdoc />
    public void FeedForward(in MatrixView x, FeedForwardWeight weight, in MatrixView y)
    {
        KernelArguments.CheckFeedForward(x, weight, y);
        if (x.Rows > 0)
        {
            _feedForward.Run(x, weight, y);
        }
    }

    /// <inheritdoc />
    public void MixtureOfExperts(
        in MatrixView x,
        ExpertBank bank,
        ReadOnlySpan<int> chosen,
        ReadOnlySpan<float> weights,
        in MatrixView y)
    {
        KernelArguments.CheckExperts(x, bank, chosen, weights, y);
        if (x.Rows > 0)
        {
            _feedForward.Run(x, bank, chosen, weights, y);
        }
    }

    /// <inheritdoc />
    public void RmsNorm(in MatrixView x, ReadOnlySpan<float> gain, float epsilon, in MatrixView y)
    {
        KernelArguments.CheckRmsNorm(x, gain, y);
        _rows.Norm(x, gain, epsilon, y);
    }

    /// <inheritdoc />
    public void SwiGlu(in MatrixView gate, in MatrixView up)
    {
        KernelArguments.CheckSameShape(gate, up);
        _rows.SwiGlu(gate, up);
    }

    /// <inheritdoc />
    public void Add(in MatrixView x, in MatrixView y)
    {
        KernelArguments.CheckSameShape(x, y);
        _rows.Add(x, y);
    }

    /// <inheritdoc />
    public void Rope(
        in MatrixView x,
        ReadOnlySpan<int> positions,
        ReadOnlySpan<double> frequencies,
        int firstColumn,
        int groupStride,
        int groupCount)
    {
        KernelArguments.CheckRope(x, positions.Length, frequencies.Length, firstColumn, groupStride, groupCount);
        _rope.Run(x, positions, frequencies, firstColumn, groupStride, groupCount);
    }

    /// <inheritdoc />
    public void PrefillAttention(
        AttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTable,
        int firstPosition,
        in MatrixView q,
        in MatrixView output,
        CancellationToken cancellation = default)
    {
        var panels = KernelArguments.Own<PanelAttentionWeight>(weight);
        KernelArguments.CheckPrefill(panels.Shape, kv, layer, blockTable, firstPosition, q, output);
        if (panels is RoundedAttentionWeight rounded)
        {
            _bf16Prefill!.Run(rounded.Projections, kv, layer, blockTable, firstPosition, q, output, cancellation);
        }
        else
        {
            _prefill.Run(panels, kv, layer, blockTable, firstPosition, q, output, cancellation);
        }
    }

    /// <inheritdoc />
    public void DecodeAttention(
        AttentionWeight weight,
        PagedKvMemory kv,
        int layer,
        ReadOnlySpan<int> blockTables,
        ReadOnlySpan<DecodeRow> rows,
        in MatrixView q,
        in MatrixView output)
    {
        var panels = KernelArguments.Own<PanelAttentionWeight>(weight);
        KernelArguments.CheckDecode(panels.Shape, kv, layer, blockTables, rows, q, output);
        if (panels is RoundedAttentionWeight rounded)
        {
            var decode = kv.Layout.ElementType == KvElementType.Q8 ? _byteDecode! : _bf16Decode!;
            decode.Run(rounded, kv, layer, blockTables, rows, q, output);
        }
        else
        {
            _decode.Run(panels, kv, layer, blockTables, rows, q, output);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Team.Dispose();
        _matMul.Dispose();
        _feedForward.Dispose();
        _rope.Dispose();
        _prefill.Dispose();
        _bf16Prefill?.Dispose();
        _decode.Dispose();
        _bf16Decode?.Dispose();
        _byteDecode?.Dispose();
        _narrow?.Dispose();
        _repacked.Dispose();
    }

    private Bf16PanelWeight PackBf16(in TensorData weight, Bf16Kernels kernels) =>
        _narrow!.TryPack(weight) ?? (Bf16PanelWeight)new Bf16Weight(weight, kernels);

    /// <summary>A weight that multiplies with what is stored or repacked, in the arithmetic of its type.</summary>
    private PanelWeight PackStored(TensorData weight)
    {
        if (_bf16 is not null && weight.Type == TensorType.BF16)
        {
            return PackBf16(weight, _bf16);
        }

        if (Options.Arithmetic != CpuArithmetic.Fast || !Int8Weight.Supports(weight.Type))
        {
            return new StoredWeight(weight);
        }

        if (weight.Type == TensorType.Int4Group32
            && RepackedInt4.TryMake(weight, _repacked, Team, out var q4_0) is { } memory)
        {
            weight.ReleasePages();
            return new Int8Weight(q4_0, Options.Path, memory);
        }

        return new Int8Weight(weight, Options.Path);
    }
}
