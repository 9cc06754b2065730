namespace Kimi.Mooncake.Kernels.Cpu.Bf16;

/// <summary>What a call of the product of few rows takes.</summary>
internal unsafe struct NarrowBf16Product
{
    internal byte* Panel;
    internal byte* Blocks;
    internal ushort* Left;
    internal long LeftStrideBytes;
    internal long Rows;
    internal float* Results;
    internal long ResultStrideBytes;

    /// <summary>Blocks of the panel but the last ones: what is <see cref="Ahead"/> is fetched meanwhile.</summary>
    internal long Count;

    /// <summary>The last blocks: what is <see cref="Afterwards"/> is fetched meanwhile.</summary>
    internal long LastCount;
    internal byte* Ahead;
    internal byte* Afterwards;
}

/// <summary>What a call that makes pairs of k takes.</summary>
internal unsafe struct NarrowBf16Run
{
    internal byte* Panel;

    /// <summary>Where exponents are written out; the routine leaves where they go on.</summary>
    internal byte* Written;
    internal byte* Blocks;
    internal long Count;

    /// <summary>Receives <c>[16 / 2][32][2]</c> values for each block.</summary>
    internal uint* Target;
    internal byte* Ahead;
}
