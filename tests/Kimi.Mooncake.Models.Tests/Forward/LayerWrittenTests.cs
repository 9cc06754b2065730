using System.Runtime.InteropServices;
using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Kernels.Cpu;
using Kimi.Mooncake.Models.Needle;
using Kimi.Mooncake.Tests;

namespace Kimi.Mooncake.Models.Tests;

/// <summary>A hand-over sends a layer while the model computes on: what it is told of must stand and stay.</summary>
[TestFixture]
internal sealed class LayerWrittenTests
{
    private const int BlockTokens = 16;
    private const int Blocks = 8;

    [Test]
    public void Forward_TellsOfEachLayerOnce_WhenItsValuesAreFinal()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Path, "needle.gguf");
        NeedleModel.Write(path);
        using var source = ModelSource.Open(path);
        var config = source.Config;
        using var kernels = new CpuKernels(1);
        using var model = new KimiModel(source, kernels, rowsMax: 64, logitsRowsMax: 1);
        using var kv = new PagedKvMemory(KimiModel.LayoutOf(config, BlockTokens), Blocks);
        var batch = new ForwardBatch();
        int[] table = [6, 2, 5, 1];
        var told = new List<int>();
        var seen = new List<float[]>();
        foreach (var (start, count) in new[] { (0, 21), (21, 40) })
        {
            batch.Clear();
            batch.Add(Enumerable.Range(start, count).ToArray(), start, table, isDecode: false, LogitsWanted.None);

            model.Forward(batch, kv, layer =>
            {
                told.Add(layer);
                seen.Add(Values(kv, table, layer, start, count));
            });

            Assert.That(told, Is.EqualTo(Enumerable.Range(0, config.LayerCount)));
            foreach (var layer in told)
            {
                var final = Values(kv, table, layer, start, count);
                Assert.That(seen[layer].AsSpan().SequenceEqual(final), $"layer {layer} changed after it was told");
                Assert.That(final, Has.Some.Not.Zero);
            }

            told.Clear();
            seen.Clear();
        }
    }

    [Test]
    public void Address_OfATokenInALayer_IsWhereItsValuesAre()
    {
        var layout = new Core.KvLayout(Core.KvElementType.F32, 3, 12, 4, BlockTokens);
        using var kv = new PagedKvMemory(layout, Blocks);
        kv.Write(5, 2, 7, [42, .. new float[15]]);

        var offset = (int)(kv.Address(5, 2, 7) - kv.Address(5, 0, 0));

        Assert.That(offset, Is.EqualTo((2 * layout.BytesPerBlockLayer) + (7 * layout.BytesPerToken / 3)));
        Assert.That(MemoryMarshal.Read<float>(kv.Block(5)[offset..]), Is.EqualTo(42));
        Assert.That(() => kv.Address(5, 3, 0), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    private static float[] Values(PagedKvMemory kv, int[] table, int layer, int start, int count)
    {
        var values = new List<float>();
        var token = new float[kv.Layout.ValuesPerTokenAndLayer];
        for (var position = start; position < start + count; position++)
        {
            kv.Read(table[position / BlockTokens], layer, position % BlockTokens, token);
            values.AddRange(token);
        }

        return [.. values];
    }
}
