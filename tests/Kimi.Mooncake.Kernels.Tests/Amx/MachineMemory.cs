using System.Runtime.CompilerServices;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>
/// The process's memory, of which an interpreted routine may touch only the regions that it was given: reading one
/// byte beyond an operand is a fault here, though a processor might let it pass.
/// </summary>
internal sealed unsafe class MachineMemory
{
    private readonly List<Region> _regions = [];

    internal void Allow(void* start, long sizeBytes, bool writable) =>
        _regions.Add(new Region((ulong)start, (ulong)sizeBytes, writable));

    internal byte* Read(ulong address, int sizeBytes) => Check(address, sizeBytes, writes: false);

    internal byte* Write(ulong address, int sizeBytes) => Check(address, sizeBytes, writes: true);

    internal T Read<T>(ulong address)
        where T : unmanaged =>
        Unsafe.ReadUnaligned<T>(Read(address, sizeof(T)));

    internal void Write<T>(ulong address, T value)
        where T : unmanaged =>
        Unsafe.WriteUnaligned(Write(address, sizeof(T)), value);

    private byte* Check(ulong address, int sizeBytes, bool writes)
    {
        foreach (var region in _regions)
        {
            if (address >= region.Start && address - region.Start + (ulong)sizeBytes <= region.SizeBytes
                && (region.Writable || !writes))
            {
                return (byte*)address;
            }
        }

        throw MachineFaultException.Page($"{(writes ? "write" : "read")} of {sizeBytes} bytes at {address:x}");
    }

    private readonly record struct Region(ulong Start, ulong SizeBytes, bool Writable);
}
