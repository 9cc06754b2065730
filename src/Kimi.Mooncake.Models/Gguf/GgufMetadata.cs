namespace Kimi.Mooncake.Models.Gguf;

/// <summary>
/// A metadata entry. Its value stays in the file and is decoded by the getters of <see cref="GgufFile"/>.
/// </summary>
/// <param name="Key">Key, unique in the file.</param>
/// <param name="Type">Type of the value.</param>
/// <param name="ElementType">Type of an array's elements; otherwise <paramref name="Type"/>.</param>
/// <param name="Count">Elements of an array; otherwise 1.</param>
/// <param name="Offset">First byte of the value, behind an array's element type and count.</param>
/// <param name="SizeBytes">Bytes of the value from <paramref name="Offset"/> on.</param>
public sealed record GgufMetadata(
    string Key, GgufValueType Type, GgufValueType ElementType, long Count, long Offset, long SizeBytes)
{
    /// <summary>The type for people, such as <c>UInt32</c> or <c>array of String</c>.</summary>
    public string TypeName => Type == GgufValueType.Array ? $"array of {ElementType}" : Type.ToString();
}
