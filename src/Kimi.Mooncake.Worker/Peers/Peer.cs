using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Another process that has blocks, as this one has come to know it.</summary>
internal sealed class Peer
{
    private readonly ulong _hash;

    public Peer(string address, PeerBlocksOptions options, TimeProvider time)
    {
        Address = address;
        Breaker = new CircuitBreaker(
            options.BreakerFailuresMax, TimeSpan.FromMilliseconds(options.BreakerPauseMs), time);
        Rate = new TransferRate(TimeSpan.FromMilliseconds(options.RateLifetimeMs), time);
        _hash = BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(address)));
    }

    public string Address { get; }

    public CircuitBreaker Breaker { get; }

    public TransferRate Rate { get; }

    /// <summary>
    /// Whose weight for a key is highest keeps its block, so that all processes choose alike and a node that comes or
    /// goes moves no other node's keys.
    /// </summary>
    public ulong WeightOf(in BlockKey key)
    {
        Span<byte> bytes = stackalloc byte[BlockKey.SizeBytes];
        key.CopyTo(bytes);
        var x = BinaryPrimitives.ReadUInt64LittleEndian(bytes) ^ _hash;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}
