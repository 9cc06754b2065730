using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Kimi.Mooncake.Kernels.Cpu.Int8;

namespace Kimi.Mooncake.Kernels.Cpu.Absorbed;

/// <summary>Four unsigned bytes of each lane by four signed ones, added to the lane.</summary>
internal interface IByteDot
{
    static abstract Vector512<int> Add(Vector512<int> sum, Vector512<uint> unsigned, Vector512<uint> signed);
}

/// <summary>With vectors of the runtime.</summary>
internal readonly struct PortableDot : IByteDot
{
    private const int ByteBits = 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Add(Vector512<int> sum, Vector512<uint> unsigned, Vector512<uint> signed)
    {
        var words = signed.AsInt16();
        return sum + PortableInt8.Dot(unsigned.AsUInt16(), (words << ByteBits) >> ByteBits, words >> ByteBits);
    }
}

/// <summary>With AVX-VNNI.</summary>
internal readonly struct VnniDot : IByteDot
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Add(Vector512<int> sum, Vector512<uint> unsigned, Vector512<uint> signed) =>
        Vector512.Create(
            AvxVnni.MultiplyWideningAndAdd(
                sum.GetLower(), unsigned.GetLower().AsByte(), signed.GetLower().AsSByte()),
            AvxVnni.MultiplyWideningAndAdd(
                sum.GetUpper(), unsigned.GetUpper().AsByte(), signed.GetUpper().AsSByte()));
}

/// <summary>The products of <see cref="ByteKernels"/> for any processor.</summary>
internal static unsafe class ByteChains
{
    private const int Lanes = 16;
    private const int Heads = KeyTiles.Heads;
    private const int Step = ByteTileShape.StepBytes / sizeof(uint);
    private const int GroupWords = ByteTileShape.GroupWords;
    private const int ScoreStride = ByteKernels.ScoreStride;
    private const int HalfBits = 16;
    private const uint OddMask = 0xffff0000;

    /// <summary>The rotated parts of scores.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void ScoreRopes(in ByteScores call)
    {
        for (var head = 0; head < call.HeadGroups * Heads; head++)
        {
            var queries = (uint*)((byte*)call.Ropes + (head / Heads * call.QueryBytes)) + (head % Heads);
            var scores = call.Scores + (head * ScoreStride);
            Vector512<float> s0 = default, s1 = default;
            for (var pair = 0; pair < call.RopePairs; pair++)
            {
                var keys = (uint*)call.KeyRopes + (pair * Step);
                var (k0, k1) = (Vector512.Load(keys), Vector512.Load(keys + Lanes));
                var query = Vector512.Create(queries[pair * Heads]);
                s0 = FlushingChain.Add(Odd(query), Odd(k0), s0);
                s1 = FlushingChain.Add(Odd(query), Odd(k1), s1);
                s0 = FlushingChain.Add(Even(query), Even(k0), s0);
                s1 = FlushingChain.Add(Even(query), Even(k1), s1);
            }

            s0.Store(scores);
            s1.Store(scores + Lanes);
        }
    }

    /// <summary>Adds the latents' parts of scores.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void ScoreLatents<TDot>(in ByteScores call)
        where TDot : struct, IByteDot
    {
        for (var head = 0; head < call.HeadGroups * Heads; head++)
        {
            var at = (head / Heads * call.QueryBytes) + (head % Heads * sizeof(uint));
            var scores = call.Scores + (head * ScoreStride);
            for (var group = 0; group < call.Groups; group++)
            {
                var keys = (uint*)call.KeyLatents + (group * GroupWords * Step);
                var queries = (uint*)((byte*)call.Latents + at) + (group * GroupWords * Heads);
                var s0 = Vector512.Create(((int*)((byte*)call.Starts + at))[group * Heads]);
                var s1 = s0;
                for (var word = 0; word < GroupWords; word++)
                {
                    var query = Vector512.Create(queries[word * Heads]);
                    s0 = TDot.Add(s0, Vector512.Load(keys + (word * Step)), query);
                    s1 = TDot.Add(s1, Vector512.Load(keys + (word * Step) + Lanes), query);
                }

                var scale = Vector512.Create(((float*)((byte*)call.QueryScales + at))[group * Heads]);
                var keyScales = (float*)call.KeyScales + (group * Step);
                Add(s0, Vector512.Load(keyScales) * scale, scores);
                Add(s1, Vector512.Load(keyScales + Lanes) * scale, scores + Lanes);
            }
        }
    }

    /// <summary>Adds weighted sums of latents.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal static void Sum<TDot>(in ByteSums call, int rows)
        where TDot : struct, IByteDot
    {
        for (var i = 0; i < call.Batches * rows; i++)
        {
            var (batch, row) = (i / rows, i % rows);
            var weights = (uint*)(call.Weights + (batch * call.BatchBytes) + (row * ByteRows.Bytes));
            var unit = Vector512.Create(
                ((float*)((byte*)call.Units + (batch * call.BatchBytes / ByteRows.UnitShare)))[row]);
            var rescale = Vector512.Create(call.Rescale[i]);
            var latents = (uint*)call.Latents;
            var sums = (float*)(call.Sums + call.Offsets[i]);
            for (var half = 0; half < 2; half++)
            {
                Vector512<int> s0 = default, s1 = default;
                for (var quad = 0; quad < call.Quads; quad++)
                {
                    var weight = Vector512.Create(weights[quad]);
                    s0 = TDot.Add(s0, weight, Vector512.Load(latents + (quad * Step)));
                    s1 = TDot.Add(s1, weight, Vector512.Load(latents + (quad * Step) + Lanes));
                }

                Rescale(s0, unit, rescale, sums);
                Rescale(s1, unit, rescale, sums + Lanes);
                latents += ByteTileShape.HalfGroupBytes / sizeof(uint);
                sums += 2 * Lanes;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(Vector512<int> sum, Vector512<float> scale, float* scores) =>
        Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(sum), scale, Vector512.Load(scores)).Store(scores);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rescale(Vector512<int> sum, Vector512<float> unit, Vector512<float> rescale, float* sums) =>
        Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(sum), unit, Vector512.Load(sums) * rescale).Store(sums);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Odd(Vector512<uint> pairs) => (pairs & Vector512.Create(OddMask)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Even(Vector512<uint> pairs) => (pairs << HalfBits).AsSingle();
}
