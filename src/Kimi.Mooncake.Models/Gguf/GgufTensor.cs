using System.Collections.Immutable;

namespace Kimi.Mooncake.Models.Gguf;

/// <summary>An entry of the tensor table.</summary>
/// <param name="Name">Name, unique in the file.</param>
/// <param name="Type">Encoding.</param>
/// <param name="Ne">Dimensions, 1 to 4 of them, the fastest (values of a row) first.</param>
/// <param name="Offset">First byte, from the start of the file.</param>
/// <param name="SizeBytes">Bytes.</param>
public sealed record GgufTensor(string Name, GgmlType Type, ImmutableArray<long> Ne, long Offset, long SizeBytes)
{
    /// <summary>Values of a row.</summary>
    public long Columns => Ne[0];

    /// <summary>Rows: the product of all dimensions but the first.</summary>
    public long Rows => Elements / Ne[0];

    /// <summary>Values.</summary>
    public long Elements => Ne.Aggregate(1L, (product, extent) => product * extent);

    /// <summary>Dimensions for people, such as <c>[512, 320]</c>.</summary>
    public string Shape => Describe(Ne.AsSpan());

    internal static string Describe(ReadOnlySpan<long> ne) => $"[{string.Join(", ", ne.ToArray())}]";
}
