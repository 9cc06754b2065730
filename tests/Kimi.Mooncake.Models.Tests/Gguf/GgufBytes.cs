using System.Text;
using Kimi.Mooncake.Models.Gguf;

namespace Kimi.Mooncake.Models.Tests.Gguf;

/// <summary>Makes GGUF files by hand, malformed ones too; knows nothing of the product's writer.</summary>
internal sealed class GgufBytes
{
    private readonly MemoryStream _metadata = new();
    private readonly MemoryStream _tensors = new();
    private readonly MemoryStream _data = new();

    public uint Magic { get; set; } = 0x46554747;

    public uint Version { get; set; } = 3;

    public ulong MetadataCount { get; set; }

    public ulong TensorCount { get; set; }

    public int AlignmentBytes { get; set; } = 32;

    /// <summary>A small valid file: an architecture, some values of several types, two tensors.</summary>
    public static GgufBytes Small()
    {
        var file = new GgufBytes();
        file.Add("general.architecture", GgufValueType.String, Text("deepseek2"));
        file.Add("int", GgufValueType.Int32, Number(-7));
        file.Add("float", GgufValueType.Float32, BitConverter.GetBytes(2.5f));
        file.Add("flag", GgufValueType.Bool, [1]);
        file.Add(
            "names",
            GgufValueType.Array,
            [.. Number((int)GgufValueType.String), .. BitConverter.GetBytes(2UL), .. Text("a"), .. Text("bc")]);
        file.Add(
            "numbers",
            GgufValueType.Array,
            [.. Number((int)GgufValueType.UInt16), .. BitConverter.GetBytes(3UL), 1, 0, 2, 0, 3, 1]);
        file.AddTensor("matrix", 0, [2, 3], 0);
        file.AddTensor("vector", 1, [4], 32);
        file.AddData(new byte[64]);
        return file;
    }

    public static byte[] Text(string text) =>
        [.. BitConverter.GetBytes((ulong)Encoding.UTF8.GetByteCount(text)), .. Encoding.UTF8.GetBytes(text)];

    public static byte[] Number(int value) => BitConverter.GetBytes(value);

    public void Add(string key, GgufValueType type, byte[] value) => Add(key, (uint)type, value);

    public void Add(string key, uint type, byte[] value)
    {
        _metadata.Write([.. Text(key), .. BitConverter.GetBytes(type), .. value]);
        MetadataCount++;
    }

    public void AddTensor(string name, uint type, ulong[] ne, ulong offset)
    {
        _tensors.Write(
        [
            .. Text(name), .. Number(ne.Length), .. ne.SelectMany(BitConverter.GetBytes),
            .. BitConverter.GetBytes(type), .. BitConverter.GetBytes(offset),
        ]);
        TensorCount++;
    }

    public void AddData(byte[] data) => _data.Write(data);

    public byte[] ToArray()
    {
        List<byte> bytes =
        [
            .. BitConverter.GetBytes(Magic), .. BitConverter.GetBytes(Version), .. BitConverter.GetBytes(TensorCount),
            .. BitConverter.GetBytes(MetadataCount), .. _metadata.ToArray(), .. _tensors.ToArray(),
        ];
        while (bytes.Count % AlignmentBytes != 0)
        {
            bytes.Add(0);
        }

        bytes.AddRange(_data.ToArray());
        return [.. bytes];
    }
}
