using Kimi.Mooncake.Core;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Tokenization.Grammars;

namespace Kimi.Mooncake.Worker;

/// <summary>Memory and processors of a worker.</summary>
public sealed record WorkerOptions
{
    /// <summary>Most that <see cref="RepackMemoryPercent"/> may be: KV and others want memory too.</summary>
    public const int RepackMemoryPercentMax = 90;

    /// <summary>Bytes of the paged KV pool.</summary>
    [Setting("Native memory for KV blocks; taken from the system as blocks are first used.",
        Unit = "bytes", Min = 1 << 20, Max = 1L << 44)]
    public long KvPoolBytes { get; init; } = 1L << 30;

    /// <summary>Tokens in a KV block.</summary>
    [Setting("Tokens in a KV block, a power of two; only full blocks are shared and stored.",
        Unit = "tokens", Min = KvLayout.BlockTokensMin, Max = KvLayout.BlockTokensMax)]
    public int BlockTokens { get; init; } = KvLayout.BlockTokensDefault;

    /// <summary>In what keys and values are cached: <c>auto</c>, <c>f32</c>, <c>bf16</c> or <c>q8</c>.</summary>
    [Setting("Type of cached keys and values: f32, bf16 or q8 (bytes with scales); auto: bf16 where attention is "
        + "computed in it, else f32. All nodes of a cluster must agree.")]
    public string KvType { get; init; } = "auto";

    /// <summary>Threads that compute; 0 is one for each processor.</summary>
    [Setting("Threads that compute; 0 is one for each processor.", Unit = "threads", Min = 0, Max = 1024)]
    public int Threads { get; init; }

    /// <summary>Whether each of these threads stays on a processor of its own.</summary>
    [Setting("Keep each computing thread on a processor of its own (Linux).")]
    public bool PinThreads { get; init; }

    /// <summary>Whether large native buffers ask for huge pages: <c>auto</c> or <c>off</c>.</summary>
    [Setting("Huge pages for KV pool, working memory, files read ahead: auto (where the system gives them), or off.")]
    public string HugePages { get; init; } = "auto";

    /// <summary>Which kernels compute: <c>cpu</c> or <c>reference</c>.</summary>
    [Setting("Kernels: cpu (vectorised) or reference (plain and slow, for checking).")]
    public string Kernels { get; init; } = "cpu";

    /// <summary>Instructions of the <c>cpu</c> kernels: <c>auto</c> takes the fastest that the processor has.</summary>
    [Setting("Instructions of the cpu kernels: auto, portable, avx-vnni, avx512 or amx; answers are the same bits.")]
    public string Instructions { get; init; } = "auto";

    /// <summary>
    /// Bytes that unpacked weights may take. A model whose files are larger is computed with as it is stored, so that
    /// it takes no memory beside the mapped files; answers are the same bits either way.
    /// </summary>
    [Setting("Native memory for unpacked weights; a model with larger files is computed with as stored. 0: always.",
        Unit = "bytes", Min = 0, Max = 1L << 44)]
    public long PackBytesMax { get; init; } = CpuOptions.DefaultPackBytesMax;

    /// <summary>
    /// Share of the machine's memory that weights may take which are repacked when a model is loaded, so that decoding
    /// reads less or in better order; answers are the same bits either way. The mapped file's pages are let go.
    /// </summary>
    [Setting("Share of memory for weights repacked when loaded (BF16, packed INT4); not for larger models. 0: never.",
        Unit = "percent", Min = 0, Max = RepackMemoryPercentMax)]
    public int RepackMemoryPercent { get; init; } = 25;

    /// <summary>Compiled constraints of answers that are kept for the next request with the same.</summary>
    [Setting("Compiled constraints of answers kept for the next request with the same schemas and tools.",
        Unit = "constraints", Min = 1, Max = 4096)]
    public int ConstraintsKeptMax { get; init; } = 32;

    /// <summary>Bytes of token masks that are kept for each of them.</summary>
    [Setting("Memory for the token masks of one constraint; when it is full they are made anew.",
        Unit = "bytes", Min = 1 << 20, Max = 1L << 34)]
    public long ConstraintCacheBytes { get; init; } = OutputGrammar.CacheBytesDefault;
}
