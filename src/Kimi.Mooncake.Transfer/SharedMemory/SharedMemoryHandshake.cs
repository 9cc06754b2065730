using System.Buffers.Binary;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// What a sender says to a receiver's socket: number of the open file of its memory, length of the ring, and a nonce
/// that
/// the memory repeats. The answer is one byte.
/// </summary>
[SupportedOSPlatform("linux")]
internal readonly record struct SharedMemoryHandshake(int Descriptor, long RingBytes, ReadOnlyMemory<byte> Nonce)
{
    public const byte Accepted = 1;
    public const byte Refused = 2;

    private const uint Magic = 0x6B_6E_6F_6D;
    private const int Bytes = sizeof(uint) + sizeof(int) + sizeof(long) + SharedRing.NonceBytes;

    private const int SocketLevel = 1;
    private const int PeerCredentials = 17;

    public static async Task<SharedMemoryHandshake> ReceiveAsync(Socket socket, CancellationToken cancellationToken)
    {
        var message = new byte[Bytes];
        for (var at = 0; at < message.Length;)
        {
            var read = await socket.ReceiveAsync(message.AsMemory(at), cancellationToken).ConfigureAwait(false);
            at += read > 0 ? read : throw new IOException("the sender closed its end before it said what it has");
        }

        return BinaryPrimitives.ReadUInt32LittleEndian(message) == Magic
            ? new SharedMemoryHandshake(
                BinaryPrimitives.ReadInt32LittleEndian(message.AsSpan(4)),
                BinaryPrimitives.ReadInt64LittleEndian(message.AsSpan(8)), message.AsMemory(16))
            : throw new InvalidDataException("the sender speaks something else");
    }

    public async Task SendAsync(Socket socket, CancellationToken cancellationToken)
    {
        var message = new byte[Bytes];
        BinaryPrimitives.WriteUInt32LittleEndian(message, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(message.AsSpan(4), Descriptor);
        BinaryPrimitives.WriteInt64LittleEndian(message.AsSpan(8), RingBytes);
        Nonce.CopyTo(message.AsMemory(16));
        await socket.SendAsync(message, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Process and user at the other end of a Unix socket, as the kernel knows them.</summary>
    public static (int ProcessId, uint UserId) PeerOf(Socket socket)
    {
        Span<int> credentials = stackalloc int[3];
        socket.GetRawSocketOption(SocketLevel, PeerCredentials, MemoryMarshal.AsBytes(credentials));
        return (credentials[0], (uint)credentials[1]);
    }
}
