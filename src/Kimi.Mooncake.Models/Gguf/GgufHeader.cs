using System.Buffers.Binary;
using System.Numerics;
using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>
/// Everything in front of a GGUF file's data section, checked. What holds afterwards: keys and tensor names are unique,
/// every value and every tensor lies inside the file, tensors are aligned and do not overlap.
/// </summary>
internal sealed class GgufHeader
{
    public const uint Magic = 0x46554747;
    public const int DefaultAlignmentBytes = 32;
    public const string AlignmentKey = "general.alignment";
    public const int StringBytesMax = 64 << 20;

    private const int VersionMin = 2;
    private const int VersionMax = 3;
    private const int MetadataEntriesMax = 65_536;
    private const int TensorsMax = 262_144;
    private const int KeyBytesMax = 65_535;
    private const int TensorNameBytesMax = 64;
    private const int TensorDimensionsMax = 4;
    private const int ArrayDepthMax = 4;
    private const int AlignmentBytesMin = 8;
    private const int AlignmentBytesMax = 1 << 20;

    // A string's length field is the least that an element of variable size can take.
    private const int StringBytesMin = 8;

    private readonly MappedFile _file;
    private readonly string _path;
    private readonly GgufCursor _cursor;

    private GgufHeader(MappedFile file, string path)
    {
        _file = file;
        _path = path;
        _cursor = new GgufCursor(file, path, 0);
    }

    public int Version { get; private set; }

    public Dictionary<string, GgufMetadata> Metadata { get; } = new(StringComparer.Ordinal);

    public List<GgufMetadata> MetadataInOrder { get; } = [];

    public Dictionary<string, GgufTensor> Tensors { get; } = new(StringComparer.Ordinal);

    public List<GgufTensor> TensorsInOrder { get; } = [];

    public int AlignmentBytes { get; private set; } = DefaultAlignmentBytes;

    public long DataOffset { get; private set; }

    public static GgufHeader Parse(MappedFile file, string path)
    {
        var header = new GgufHeader(file, path);
        header.ReadMagicAndVersion();
        var tensorCount = header._cursor.ReadCount(TensorsMax, "the number of tensors");
        var metadataCount = header._cursor.ReadCount(MetadataEntriesMax, "the number of metadata entries");
        for (var i = 0L; i < metadataCount; i++)
        {
            header.ReadMetadata();
        }

        header.ReadAlignment();
        var relative = new List<GgufTensor>();
        for (var i = 0L; i < tensorCount; i++)
        {
            relative.Add(header.ReadTensor());
        }

        var end = header._cursor.Offset;
        header.DataOffset = (end + header.AlignmentBytes - 1) / header.AlignmentBytes * header.AlignmentBytes;
        relative.ForEach(header.PlaceTensor);
        header.CheckOverlap();
        return header;
    }

    private void ReadMagicAndVersion()
    {
        var magic = _cursor.ReadUInt32("the magic");
        if (magic != Magic)
        {
            throw ModelFileException.AtByte(
                _path, 0, $"not a GGUF file: the first bytes are {magic:x8} read as a number, expected {Magic:x8}");
        }

        var version = _cursor.ReadUInt32("the version");
        if (version is < VersionMin or > VersionMax)
        {
            var why = BinaryPrimitives.ReverseEndianness(version) <= VersionMax && version != 0
                ? "the file is big-endian, which is not supported"
                : $"GGUF version {version} is not supported";
            throw ModelFileException.AtByte(_path, 4, $"{why}; expected version {VersionMin} or {VersionMax}");
        }

        Version = (int)version;
    }

    private void ReadMetadata()
    {
        var place = _cursor.Offset;
        var key = _cursor.ReadString(KeyBytesMax, "a metadata key");
        var type = ReadValueType(key);
        var (elementType, count) = (type, 1L);
        if (type == GgufValueType.Array)
        {
            (elementType, count) = ReadArrayHead(key);
        }

        var start = _cursor.Offset;
        SkipValues(elementType, count, key, depth: 1);
        var entry = new GgufMetadata(key, type, elementType, count, start, _cursor.Offset - start);
        if (!Metadata.TryAdd(key, entry))
        {
            throw ModelFileException.AtKey(_path, key, $"appears again at byte {place}; expected once");
        }

        MetadataInOrder.Add(entry);
    }

    private GgufValueType ReadValueType(string key)
    {
        var place = _cursor.Offset;
        var number = _cursor.ReadUInt32($"the type of key '{ModelFileException.Shorten(key)}'");
        if (number > (uint)GgufValueType.Float64)
        {
            throw ModelFileException.AtKey(
                _path,
                key,
                $"unknown metadata type {number} at byte {place}; expected 0 to {(int)GgufValueType.Float64}");
        }

        return (GgufValueType)number;
    }

    private (GgufValueType ElementType, long Count) ReadArrayHead(string key)
    {
        var elementType = ReadValueType(key);
        var elementBytesMin = Math.Max(GgufValueTypes.FixedBytes(elementType), 1);
        if (elementType is GgufValueType.String or GgufValueType.Array)
        {
            elementBytesMin = StringBytesMin;
        }

        var count = _cursor.ReadUInt64($"the element count of key '{ModelFileException.Shorten(key)}'");
        var countMax = _cursor.Remaining / elementBytesMin;
        return count <= (ulong)countMax
            ? (elementType, (long)count)
            : throw ModelFileException.AtKey(
                _path, key, $"the file ends inside its {count} elements; expected at most {countMax} in what is left");
    }

    private void SkipValues(GgufValueType type, long count, string key, int depth)
    {
        var what = $"the value of key '{ModelFileException.Shorten(key)}'";
        var fixedBytes = GgufValueTypes.FixedBytes(type);
        if (fixedBytes > 0)
        {
            _cursor.Skip(count * fixedBytes, what);
            return;
        }

        if (depth > ArrayDepthMax)
        {
            throw ModelFileException.AtKey(_path, key, $"arrays are nested deeper than {ArrayDepthMax}");
        }

        for (var i = 0L; i < count; i++)
        {
            if (type == GgufValueType.String)
            {
                _cursor.Skip(_cursor.ReadCount(StringBytesMax, what), what);
            }
            else
            {
                var (elementType, elements) = ReadArrayHead(key);
                SkipValues(elementType, elements, key, depth + 1);
            }
        }
    }

    private void ReadAlignment()
    {
        if (!Metadata.TryGetValue(AlignmentKey, out var entry))
        {
            return;
        }

        if (entry.Type != GgufValueType.UInt32)
        {
            throw ModelFileException.AtKey(_path, AlignmentKey, $"expected UInt32, found {entry.TypeName}");
        }

        var bytes = BinaryPrimitives.ReadUInt32LittleEndian(_file.Bytes(entry.Offset, sizeof(uint)));
        if (!BitOperations.IsPow2(bytes) || bytes is < AlignmentBytesMin or > AlignmentBytesMax)
        {
            throw ModelFileException.AtKey(
                _path,
                AlignmentKey,
                $"is {bytes}; expected a power of two from {AlignmentBytesMin} to {AlignmentBytesMax}");
        }

        AlignmentBytes = (int)bytes;
    }

    /// <summary>A tensor whose offset still counts from the start of the data section.</summary>
    private GgufTensor ReadTensor()
    {
        var name = _cursor.ReadString(TensorNameBytesMax, "a tensor name");
        var what = $"the entry of tensor '{ModelFileException.Shorten(name)}'";
        var dimensions = _cursor.ReadUInt32(what);
        if (dimensions is < 1 or > TensorDimensionsMax)
        {
            throw ModelFileException.AtTensor(
                _path, name, $"has {dimensions} dimensions; expected 1 to {TensorDimensionsMax}");
        }

        var ne = new long[dimensions];
        var elements = 1UL;
        for (var i = 0; i < ne.Length; i++)
        {
            var extent = _cursor.ReadUInt64(what);

            // Sixteen bytes a value is more than any encoding takes, so that sizes in bytes cannot overflow either.
            if (extent is 0 or > long.MaxValue || extent > long.MaxValue / 16 / elements)
            {
                throw ModelFileException.AtTensor(
                    _path, name, $"dimension {i} is {extent}; expected at least 1 and a size that fits in the file");
            }

            elements *= extent;
            ne[i] = (long)extent;
        }

        var typeId = _cursor.ReadUInt32(what);
        var type = (typeId <= int.MaxValue ? GgmlType.Find((int)typeId) : null)
            ?? throw ModelFileException.AtTensor(
                _path, name, $"unknown tensor type {typeId}; expected the number of {GgmlType.ReadableNames}");
        if (ne[0] % type.BlockValues != 0)
        {
            throw ModelFileException.AtTensor(
                _path, name, $"rows of {ne[0]} values; expected a multiple of {type.BlockValues} for {type}");
        }

        var offset = _cursor.ReadUInt64(what);
        if (offset > (ulong)_file.LengthBytes)
        {
            throw ModelFileException.AtTensor(
                _path, name, $"data offset {offset} is past the end of the file of {_file.LengthBytes} bytes");
        }

        var size = (long)(elements / (ulong)type.BlockValues) * type.BlockBytes;
        return new GgufTensor(name, type, [.. ne], (long)offset, size);
    }

    private void PlaceTensor(GgufTensor relative)
    {
        if (relative.Offset % AlignmentBytes != 0)
        {
            throw ModelFileException.AtTensor(
                _path, relative.Name, $"data offset {relative.Offset}; expected a multiple of {AlignmentBytes}");
        }

        var tensor = relative with { Offset = DataOffset + relative.Offset };
        if (tensor.SizeBytes > _file.LengthBytes - tensor.Offset)
        {
            throw ModelFileException.AtTensor(
                _path,
                tensor.Name,
                $"data ends past the end of the file: {tensor.SizeBytes} bytes from byte {tensor.Offset} "
                + $"expected, the file has {_file.LengthBytes}");
        }

        if (!Tensors.TryAdd(tensor.Name, tensor))
        {
            throw ModelFileException.AtTensor(_path, tensor.Name, "appears twice; expected once");
        }

        TensorsInOrder.Add(tensor);
    }

    private void CheckOverlap()
    {
        GgufTensor? before = null;
        foreach (var tensor in TensorsInOrder.OrderBy(tensor => tensor.Offset))
        {
            if (before is not null && tensor.Offset < before.Offset + before.SizeBytes)
            {
                throw ModelFileException.AtTensor(
                    _path,
                    tensor.Name,
                    $"starts at byte {tensor.Offset} inside tensor '{before.Name}', "
                    + $"which ends at byte {before.Offset + before.SizeBytes}");
            }

            before = tensor;
        }
    }
}
