using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Kimi.Mooncake.Kernels.Cpu.Generated;

/// <summary>
/// Loops of one instruction on independent registers: what the processor does at best with instructions that the
/// runtime has no intrinsics for. Their argument is a <see cref="PeakArguments"/>.
/// </summary>
internal static class PeakRoutines
{
    /// <summary>Operations of a round of <see cref="Int8Of512"/>.</summary>
    internal const int Int8OpsOf512 = Chains * 2 * 64;

    /// <summary>Operations of a round of <see cref="Int8Of256"/>.</summary>
    internal const int Int8OpsOf256 = Chains * 2 * 32;

    /// <summary>Operations of a round of <see cref="Bf16Of512"/>.</summary>
    internal const int Bf16OpsOf512 = Chains * 2 * 32;

    /// <summary>Operations of a round of <see cref="Int8OfTiles"/>.</summary>
    internal const int Int8OpsOfTiles = TileChains * 2 * TileRows * TileRows * TileRowBytes;

    /// <summary>Operations of a round of <see cref="Bf16OfTiles"/>.</summary>
    internal const int Bf16OpsOfTiles = Int8OpsOfTiles / 2;

    // More than the latency of an instruction times how many begin in a cycle.
    private const int Chains = 12;
    private const int TileChains = 6;
    private const int TileCount = 8;
    private const int TileRows = 16;
    private const int TileRowBytes = 64;

    // The operating system's layout of a tile configuration.
    private const int TileConfigBytes = 64;
    private const int TileColumnsOffset = 16;
    private const int TileRowsOffset = 48;

    private const uint OnesAsBytes = 0x01010101;
    private const uint OnesAsBf16 = 0x3f803f80;

    private static readonly AssemblerRegisterZMM[] Zmm =
        [zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11];

    private static readonly AssemblerRegisterYMM[] Ymm =
        [ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11];

    private static readonly AssemblerRegisterTMM[] Tmm = [tmm0, tmm1, tmm2, tmm3, tmm4, tmm5];

    /// <summary><c>vpdpbusd</c> on 512 bits.</summary>
    internal static MachineCode Int8Of512() => OnZmm(OnesAsBytes, (c, sum) => c.vpdpbusd(sum, zmm12, zmm13));

    /// <summary><c>vdpbf16ps</c> on 512 bits.</summary>
    internal static MachineCode Bf16Of512() => OnZmm(OnesAsBf16, (c, sum) => c.vdpbf16ps(sum, zmm12, zmm13));

    /// <summary><c>vpdpbusd</c> of AVX-VNNI on 256 bits.</summary>
    internal static MachineCode Int8Of256() => new(c =>
    {
        c.PreferVex = true;
        c.mov(eax, OnesAsBytes);
        c.vmovd(xmm12, eax);
        c.vpbroadcastd(ymm12, xmm12);
        c.vmovdqa(ymm13, ymm12);
        foreach (var sum in Ymm)
        {
            c.vpxor(sum, sum, sum);
        }

        Loop(c, () => Array.ForEach(Ymm, sum => c.vpdpbusd(sum, ymm12, ymm13)));
        c.vzeroupper();
        c.ret();
    });

    /// <summary><c>tdpbusd</c> on tiles of 16 rows of 64 bytes.</summary>
    internal static MachineCode Int8OfTiles() => OnTiles((c, sum) => c.tdpbusd(sum, tmm6, tmm7));

    /// <summary><c>tdpbf16ps</c> on tiles of 16 rows of 32 values.</summary>
    internal static MachineCode Bf16OfTiles() => OnTiles((c, sum) => c.tdpbf16ps(sum, tmm6, tmm7));

    private static MachineCode OnZmm(uint ones, Action<Assembler, AssemblerRegisterZMM> instruction) => new(c =>
    {
        c.mov(eax, ones);
        c.vpbroadcastd(zmm12, eax);
        c.vpbroadcastd(zmm13, eax);
        foreach (var sum in Zmm)
        {
            c.vpxord(sum, sum, sum);
        }

        Loop(c, () => Array.ForEach(Zmm, sum => instruction(c, sum)));
        c.vzeroupper();
        c.ret();
    });

    private static MachineCode OnTiles(Action<Assembler, AssemblerRegisterTMM> instruction) => new(c =>
    {
        c.sub(rsp, TileConfigBytes);
        for (var offset = 0; offset < TileConfigBytes; offset += sizeof(long))
        {
            c.mov(__qword_ptr[rsp + offset], 0);
        }

        c.mov(__byte_ptr[rsp], 1);
        for (var tile = 0; tile < TileCount; tile++)
        {
            c.mov(__word_ptr[rsp + (TileColumnsOffset + (sizeof(ushort) * tile))], TileRowBytes);
            c.mov(__byte_ptr[rsp + (TileRowsOffset + tile)], TileRows);
        }

        c.ldtilecfg(__[rsp]);
        foreach (var tile in (AssemblerRegisterTMM[])[.. Tmm, tmm6, tmm7])
        {
            c.tilezero(tile);
        }

        Loop(c, () => Array.ForEach(Tmm, sum => instruction(c, sum)));
        c.tilerelease();
        c.add(rsp, TileConfigBytes);
        c.ret();
    });

    private static void Loop(Assembler c, Action body)
    {
        var again = c.CreateLabel();
        c.mov(rax, __qword_ptr[rdi]);
        c.Label(ref again);
        body();
        c.dec(rax);
        c.jnz(again);
    }
}

/// <summary>What a peak routine is called with.</summary>
internal struct PeakArguments
{
    /// <summary>Rounds of its loop, at least 1.</summary>
    internal long Rounds;
}
