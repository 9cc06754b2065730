using System.Buffers.Binary;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Cluster.Tests;

/// <summary>Block keys by number.</summary>
internal static class TestKeys
{
    public static BlockKey Of(int number)
    {
        Span<byte> bytes = stackalloc byte[BlockKey.SizeBytes];
        BinaryPrimitives.WriteInt32BigEndian(bytes, number);
        return new BlockKey(bytes);
    }
}
