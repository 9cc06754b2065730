using System.Runtime.InteropServices;
using Iced.Intel;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>
/// Executes the bytes of a generated routine over real memory, instruction by instruction. It knows what such routines
/// use and refuses everything else.
/// </summary>
internal sealed unsafe class MachineInterpreter
{
    private const int GeneralRegisters = 16;
    private const int StackBytes = 4096;
    private const ulong CodeBase = 0x10000;
    private const ulong ReturnAddress = 0xfeed0000;

    private readonly Dictionary<ulong, Instruction> _code = [];
    private readonly ulong[] _registers = new ulong[GeneralRegisters];
    private readonly VectorUnit _vectors;
    private readonly MachineFlags _flags = new();

    internal MachineInterpreter(ReadOnlySpan<byte> code, MachineMemory memory)
    {
        Memory = memory;
        _vectors = new VectorUnit(memory);
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), CodeBase);
        while (decoder.IP < CodeBase + (ulong)code.Length)
        {
            var instruction = decoder.Decode();
            _code.Add(instruction.IP, instruction);
        }
    }

    internal MachineMemory Memory { get; }

    internal TileUnit Tiles { get; } = new();

    /// <summary>Instructions executed so far.</summary>
    internal long Executed { get; private set; }

    /// <summary>The bytes of a routine, for which no pages are needed that can be executed.</summary>
    internal static byte[] Assemble(Action<Assembler> write)
    {
        using var stream = new MemoryStream();
        var assembler = new Assembler(64);
        write(assembler);
        assembler.Assemble(new StreamCodeWriter(stream), 0);
        return stream.ToArray();
    }

    /// <summary>Calls the routine as the machine would, and checks that it keeps the convention's registers.</summary>
    internal void Call(void* arguments)
    {
        var stack = (byte*)NativeMemory.AlignedAlloc(StackBytes, VectorUnit.RegisterBytes);
        try
        {
            Memory.Allow(stack, StackBytes, writable: true);
            Register(Iced.Intel.Register.RSP) = (ulong)stack + StackBytes;
            Push(ReturnAddress);
            Register(Iced.Intel.Register.RDI) = (ulong)arguments;
            Iced.Intel.Register[] kept = [Iced.Intel.Register.RBX, Iced.Intel.Register.RBP, Iced.Intel.Register.R12,
                Iced.Intel.Register.R13, Iced.Intel.Register.R14, Iced.Intel.Register.R15];
            foreach (var register in kept)
            {
                Register(register) = (ulong)register * 0x0101010101010101;
            }

            Run();

            var changed = kept.Where(register => Register(register) != (ulong)register * 0x0101010101010101);
            if (changed.Any() || Register(Iced.Intel.Register.RSP) != (ulong)stack + StackBytes)
            {
                throw new InvalidOperationException("the routine lost a register that it must keep");
            }
        }
        finally
        {
            NativeMemory.AlignedFree(stack);
        }
    }

    private void Run()
    {
        var at = CodeBase;
        while (at != ReturnAddress)
        {
            if (!_code.TryGetValue(at, out var instruction))
            {
                throw MachineFaultException.Page($"execution at {at:x}");
            }

            Executed++;
            at = Execute(instruction);
        }
    }

    /// <summary>Executes an instruction and returns the address of the next.</summary>
    private ulong Execute(in Instruction instruction)
    {
        switch (instruction.FlowControl)
        {
            case FlowControl.ConditionalBranch:
                return _flags.Holds(instruction.ConditionCode) ? instruction.NearBranchTarget : instruction.NextIP;
            case FlowControl.UnconditionalBranch:
                return instruction.NearBranchTarget;
            case FlowControl.Return:
                return Pop();
            case FlowControl.Next:
                break;
            default:
                throw Unknown(instruction);
        }

        var address = HasMemory(instruction) ? Address(instruction) : 0;
        if (!TryGeneral(instruction, address) && !TryTiles(instruction) && !_vectors.TryExecute(instruction, address))
        {
            throw Unknown(instruction);
        }

        return instruction.NextIP;
    }

    private bool TryGeneral(Instruction instruction, ulong address)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push:
                Push(Read(instruction, 0, address));
                return true;
            case Mnemonic.Pop:
                Write(instruction, address, Pop());
                return true;
            case Mnemonic.Mov:
                Write(instruction, address, Read(instruction, 1, address));
                return true;
            case Mnemonic.Lea:
                Write(instruction, address, Address(instruction));
                return true;
            case Mnemonic.Imul when instruction.OpCount == 3:
                Write(instruction, address, Read(instruction, 1, address) * Read(instruction, 2, address));
                return true;
            case Mnemonic.Add:
                Write(instruction, address, _flags.Add(Left(), Right(), Size(instruction)));
                return true;
            case Mnemonic.Sub:
                Write(instruction, address, _flags.Subtract(Left(), Right(), Size(instruction)));
                return true;
            case Mnemonic.Cmp:
                _flags.Subtract(Left(), Right(), Size(instruction));
                return true;
            case Mnemonic.Dec:
                Write(instruction, address, _flags.Decrement(Left(), Size(instruction)));
                return true;
            case Mnemonic.Test:
                _flags.And(Left(), Right(), Size(instruction));
                return true;
            case Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2 or Mnemonic.Prefetchnta:
                return true;
            default:
                return false;
        }

        ulong Left() => Read(instruction, 0, address);

        ulong Right() => Read(instruction, 1, address);
    }

    private bool TryTiles(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Ldtilecfg:
                Tiles.Configure(new ReadOnlySpan<byte>(Memory.Read(Address(instruction), 64), 64));
                return true;
            case Mnemonic.Tilerelease:
                Tiles.Release();
                return true;
            case Mnemonic.Tilezero:
                Tiles.Zero(instruction.Op0Register.GetNumber());
                return true;
            case Mnemonic.Tileloadd:
                var (from, fromStride) = TileAddress(instruction);
                Tiles.Load(instruction.Op0Register.GetNumber(), Memory, from, fromStride);
                return true;
            case Mnemonic.Tilestored:
                var (to, toStride) = TileAddress(instruction);
                Tiles.Store(instruction.Op1Register.GetNumber(), Memory, to, toStride);
                return true;
            case Mnemonic.Tdpbssd or Mnemonic.Tdpbusd:
                Tiles.AddProducts(instruction.Op0Register.GetNumber(), instruction.Op1Register.GetNumber(),
                    instruction.Op2Register.GetNumber(), instruction.Mnemonic == Mnemonic.Tdpbssd);
                return true;
            case Mnemonic.Tdpbf16ps:
                Tiles.AddExactBf16Products(instruction.Op0Register.GetNumber(),
                    instruction.Op1Register.GetNumber(), instruction.Op2Register.GetNumber());
                return true;
            default:
                return false;
        }
    }

    /// <summary>Of tiles, the index is what lies between rows.</summary>
    private (ulong Start, ulong Stride) TileAddress(in Instruction instruction) => (
        Register(instruction.MemoryBase) + instruction.MemoryDisplacement64,
        instruction.MemoryIndex == Iced.Intel.Register.None
            ? 0
            : Register(instruction.MemoryIndex) * (ulong)instruction.MemoryIndexScale);

    private ulong Address(in Instruction instruction) =>
        (instruction.MemoryBase == Iced.Intel.Register.None ? 0 : Register(instruction.MemoryBase))
        + (instruction.MemoryIndex == Iced.Intel.Register.None
            ? 0
            : Register(instruction.MemoryIndex) * (ulong)instruction.MemoryIndexScale)
        + instruction.MemoryDisplacement64;

    private ulong Read(in Instruction instruction, int operand, ulong address) => instruction.GetOpKind(operand) switch
    {
        OpKind.Register => Sized(Register(instruction.GetOpRegister(operand)), Size(instruction)),
        OpKind.Memory when Size(instruction) == sizeof(ulong) => Memory.Read<ulong>(address),
        OpKind.Memory when Size(instruction) == sizeof(uint) => Memory.Read<uint>(address),
        OpKind.Memory => throw Unknown(instruction),
        _ => Sized(instruction.GetImmediate(operand), Size(instruction)),
    };

    private void Write(in Instruction instruction, ulong address, ulong value)
    {
        var size = Size(instruction);
        if (instruction.Op0Kind == OpKind.Register)
        {
            Register(instruction.Op0Register) = Sized(value, size);
        }
        else if (size == sizeof(ulong))
        {
            Memory.Write(address, value);
        }
        else if (size == sizeof(uint))
        {
            Memory.Write(address, (uint)value);
        }
        else if (instruction.Mnemonic == Mnemonic.Mov && size == sizeof(ushort))
        {
            Memory.Write(address, (ushort)value);
        }
        else if (instruction.Mnemonic == Mnemonic.Mov && size == sizeof(byte))
        {
            Memory.Write(address, (byte)value);
        }
        else
        {
            throw Unknown(instruction);
        }
    }

    private void Push(ulong value)
    {
        ref var top = ref Register(Iced.Intel.Register.RSP);
        top -= sizeof(ulong);
        Memory.Write(top, value);
    }

    private ulong Pop()
    {
        ref var top = ref Register(Iced.Intel.Register.RSP);
        var value = Memory.Read<ulong>(top);
        top += sizeof(ulong);
        return value;
    }

    private ref ulong Register(Register register) => ref _registers[register.GetFullRegister().GetNumber()];

    private static ulong Sized(ulong value, int size) => MachineFlags.Sized(value, size);

    private static int Size(in Instruction instruction) => instruction.Op0Kind == OpKind.Register
        ? instruction.Op0Register.GetSize()
        : instruction.MemorySize.GetSize();

    private static bool HasMemory(in Instruction instruction) =>
        instruction.Op0Kind == OpKind.Memory || instruction.Op1Kind == OpKind.Memory
        || instruction.Op2Kind == OpKind.Memory;

    private static NotSupportedException Unknown(in Instruction instruction) =>
        new($"interpreted instruction {instruction.Code} ({instruction})");
}
