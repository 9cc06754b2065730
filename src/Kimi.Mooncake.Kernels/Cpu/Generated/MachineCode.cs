using System.ComponentModel;
using System.Runtime.InteropServices;
using Iced.Intel;

namespace Kimi.Mooncake.Kernels.Cpu.Generated;

/// <summary>
/// A routine assembled at run time, for instructions that the runtime has no intrinsics for. Owns its pages, which are
/// written first and then made executable, never both.
/// </summary>
/// <remarks>
/// The calling convention is System V's (x86-64), so there is none elsewhere. Routines take one pointer to their
/// arguments, in rdi, and may change every register that the convention lets them.
/// </remarks>
internal sealed unsafe partial class MachineCode : IDisposable
{
    private const int ProtRead = 1;
    private const int ProtWrite = 2;
    private const int ProtExecute = 4;
    private const int MapPrivateAnonymous = 0x22;
    private static readonly nint Failed = -1;

    private readonly nuint _sizeBytes;
    private nint _address;

    /// <summary>Assembles a routine.</summary>
    /// <param name="write">Writes the instructions, the return included.</param>
    /// <exception cref="PlatformNotSupportedException">
    /// <see cref="IsSupported"/> is false, or the system allows no pages that become executable.
    /// </exception>
    internal MachineCode(Action<Assembler> write)
    {
        if (!IsSupported)
        {
            throw new PlatformNotSupportedException("generated routines need Linux on x86-64");
        }

        using var stream = new MemoryStream();
        var assembler = new Assembler(64);
        write(assembler);
        assembler.Assemble(new StreamCodeWriter(stream), 0);
        Bytes = stream.ToArray();
        _sizeBytes = (nuint)Bytes.Length;
        _address = Map(0, _sizeBytes, ProtRead | ProtWrite, MapPrivateAnonymous, -1, 0);
        if (_address == Failed)
        {
            _address = 0;
            throw Refused("memory");
        }

        Bytes.CopyTo(new Span<byte>((void*)_address, Bytes.Length));
        if (Protect(_address, _sizeBytes, ProtRead | ProtExecute) != 0)
        {
            var refused = Refused("executable pages");
            Dispose();
            throw refused;
        }
    }

    /// <summary>Unmaps the pages if the owner forgot to.</summary>
    ~MachineCode() => Free();

    /// <summary>Whether routines can be assembled and run here.</summary>
    internal static bool IsSupported =>
        OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>The instructions, position-independent.</summary>
    internal byte[] Bytes { get; }

    /// <summary>Where the routine is, for others to call.</summary>
    internal nint Address => _address;

    /// <summary>Calls the routine. Its owner keeps it alive meanwhile.</summary>
    internal void Call(void* arguments) => ((delegate* unmanaged<void*, void>)_address)(arguments);

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private static PlatformNotSupportedException Refused(string what) => new(
        $"the system gave no {what} for generated routines", new Win32Exception(Marshal.GetLastPInvokeError()));

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(nint address, nuint length);

    private void Free()
    {
        if (_address != 0)
        {
            _ = Unmap(_address, _sizeBytes);
            _address = 0;
        }
    }
}
