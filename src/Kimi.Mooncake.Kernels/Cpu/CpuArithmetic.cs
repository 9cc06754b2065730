namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>
/// What products and attention are computed in. The choice changes bits, so it is part of what names cached KV.
/// </summary>
public enum CpuArithmetic
{
    /// <summary>Single precision throughout: stored values are decoded exactly.</summary>
    Exact = 0,

    /// <summary>
    /// What the weights are stored in decides. Block-quantized: inputs are rounded to bytes, a scale for 32, and sums
    /// within a block are exact integers. BF16: inputs are rounded to bfloat16, sums are single precision. F32 and F16:
    /// as <see cref="Exact"/>. Attention follows its up-projections: bfloat16 with sums in single precision, or exact.
    /// </summary>
    Fast = 1,
}
