using System.Runtime.InteropServices;

namespace Kimi.Mooncake.Transfer.Tests;

/// <summary>Native memory in slots of one size, with a guard of known bytes around each.</summary>
internal sealed unsafe class NativeSlots : IDisposable
{
    private const int GuardBytes = 64;
    private const byte Guard = 0xA5;

    private readonly int _count;
    private readonly int _slotBytes;
    private byte* _memory;

    public NativeSlots(int count, int slotBytes)
    {
        _count = count;
        _slotBytes = slotBytes;
        _memory = (byte*)NativeMemory.Alloc((nuint)count, (nuint)(slotBytes + GuardBytes));
        new Span<byte>(_memory, count * (slotBytes + GuardBytes)).Fill(Guard);
        for (var i = 0; i < count; i++)
        {
            this[i].Clear();
        }
    }

    public nint[] Addresses => [.. Enumerable.Range(0, _count).Select(i => Address(i))];

    public Span<byte> this[int slot] => new((void*)Address(slot), _slotBytes);

    public nint Address(int slot) => (nint)_memory + (slot * (_slotBytes + GuardBytes));

    public void Fill(Random random)
    {
        for (var i = 0; i < _count; i++)
        {
            random.NextBytes(this[i]);
        }
    }

    public bool GuardsAreIntact()
    {
        for (var i = 0; i < _count; i++)
        {
            if (new Span<byte>((void*)(Address(i) + _slotBytes), GuardBytes).IndexOfAnyExcept(Guard) >= 0)
            {
                return false;
            }
        }

        return true;
    }

    public void Dispose()
    {
        NativeMemory.Free(_memory);
        _memory = null;
    }
}
