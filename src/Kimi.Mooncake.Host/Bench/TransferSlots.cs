using System.Runtime.InteropServices;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>Memory of one side: slots of one size that do not move.</summary>
internal sealed class TransferSlots
{
    private readonly byte[][] _slots;

    public TransferSlots(int count, int slotBytes)
    {
        SlotBytes = slotBytes;
        _slots = new byte[count][];
        for (var i = 0; i < count; i++)
        {
            _slots[i] = GC.AllocateUninitializedArray<byte>(slotBytes, pinned: true);
            Array.Clear(_slots[i]);
        }
    }

    public int Count => _slots.Length;

    public int SlotBytes { get; }

    public long Bytes => (long)Count * SlotBytes;

    public byte[] this[int slot] => _slots[slot];

    public nint[] Addresses() =>
        Array.ConvertAll(_slots, slot => Marshal.UnsafeAddrOfPinnedArrayElement(slot, 0));

    public void Fill(Random random)
    {
        foreach (var slot in _slots)
        {
            random.NextBytes(slot);
        }
    }

    public void Clear()
    {
        foreach (var slot in _slots)
        {
            Array.Clear(slot);
        }
    }

    public uint Checksum()
    {
        var state = Crc32C.Start;
        foreach (var slot in _slots)
        {
            state = Crc32C.Append(state, slot);
        }

        return Crc32C.Finish(state);
    }
}
