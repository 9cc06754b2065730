using System.Buffers.Binary;
using Iced.Intel;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>
/// Vector registers and those of their instructions that generated routines use, lane by lane. No masks; a result
/// narrower than the register clears what is above it.
/// </summary>
internal sealed unsafe class VectorUnit(MachineMemory memory)
{
    internal const int RegisterBytes = 64;
    private const int LaneBytes = 4;
    private const int Registers = 32;

    private readonly byte[][] _registers =
        [.. Enumerable.Range(0, Registers).Select(_ => new byte[RegisterBytes])];

    internal Span<byte> this[int register] => _registers[register];

    /// <summary>Executes an instruction, or returns false if it is none of these.</summary>
    /// <param name="instruction">Instruction.</param>
    /// <param name="address">Where its memory operand is, if it has one.</param>
    internal bool TryExecute(in Instruction instruction, ulong address)
    {
        if (instruction.HasOpMask)
        {
            return false;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Vzeroupper:
                for (var i = 0; i < Registers / 2; i++)
                {
                    _registers[i].AsSpan(16).Clear();
                }

                return true;
            case Mnemonic.Vmovups or Mnemonic.Vmovaps or Mnemonic.Vmovdqu or Mnemonic.Vmovdqu32 or Mnemonic.Vmovdqa32
                or Mnemonic.Vmovdqu8 or Mnemonic.Vmovdqu64 or Mnemonic.Vmovdqa64 or Mnemonic.Vmovdqa:
                Move(instruction, address);
                return true;
            case Mnemonic.Vbroadcastss or Mnemonic.Vpbroadcastd:
                Lanes(instruction, address, 1, (_, value, _) => value, onlyFirst: true);
                return true;
            case Mnemonic.Vcvtdq2ps:
                Lanes(instruction, address, 1, (_, value, _) => Bits((float)value));
                return true;
            case Mnemonic.Vpxor or Mnemonic.Vpxord or Mnemonic.Vpxorq or Mnemonic.Vxorps:
                Lanes(instruction, address, 2, (_, a, b) => a ^ b);
                return true;
            case Mnemonic.Vpaddd:
                Lanes(instruction, address, 2, (_, a, b) => unchecked(a + b));
                return true;
            case Mnemonic.Vpslld when instruction.Op2Kind == OpKind.Immediate8:
                var bits = instruction.Immediate8;
                Lanes(instruction, address, 1, (_, value, _) => bits > 31 ? 0 : value << bits);
                return true;
            case Mnemonic.Vmulps:
                Lanes(instruction, address, 2, (_, a, b) => Bits(Single(a) * Single(b)));
                return true;
            case Mnemonic.Vfmadd231ps:
                Lanes(instruction, address, 2, (to, a, b) => Fma(a, b, to));
                return true;
            case Mnemonic.Vfmadd213ps:
                Lanes(instruction, address, 2, (to, a, b) => Fma(a, to, b));
                return true;
            case Mnemonic.Vfmadd132ps:
                Lanes(instruction, address, 2, (to, a, b) => Fma(to, b, a));
                return true;
            case Mnemonic.Vpdpbusd:
                Lanes(instruction, address, 2, (to, a, b) => unchecked(to + Dot(a, b)));
                return true;
            default:
                return false;
        }
    }

    private static int Dot(int unsigned, int signed)
    {
        var sum = 0;
        for (var i = 0; i < LaneBytes; i++)
        {
            sum += (byte)(unsigned >> (8 * i)) * (sbyte)(signed >> (8 * i));
        }

        return sum;
    }

    private static int Fma(int a, int b, int c) => Bits(MathF.FusedMultiplyAdd(Single(a), Single(b), Single(c)));

    private static float Single(int bits) => BitConverter.Int32BitsToSingle(bits);

    private static int Bits(float value) => BitConverter.SingleToInt32Bits(value);

    private void Move(in Instruction instruction, ulong address)
    {
        var sizeBytes = SizeBytes(instruction.Op0Kind == OpKind.Register
            ? instruction.Op0Register : instruction.Op1Register);
        if (instruction.Op0Kind == OpKind.Memory)
        {
            this[instruction.Op1Register.GetNumber()][..sizeBytes].CopyTo(
                new Span<byte>(memory.Write(address, sizeBytes), sizeBytes));
            return;
        }

        var target = this[instruction.Op0Register.GetNumber()];
        var source = instruction.Op1Kind == OpKind.Memory
            ? new ReadOnlySpan<byte>(memory.Read(address, sizeBytes), sizeBytes)
            : this[instruction.Op1Register.GetNumber()][..sizeBytes];
        source.CopyTo(target);
        target[sizeBytes..].Clear();
    }

    private void Lanes(
        in Instruction instruction, ulong address, int sources, Func<int, int, int, int> lane, bool onlyFirst = false)
    {
        var sizeBytes = SizeBytes(instruction.Op0Register);
        var target = this[instruction.Op0Register.GetNumber()];
        Span<byte> a = stackalloc byte[RegisterBytes];
        Span<byte> b = stackalloc byte[RegisterBytes];
        Take(instruction, 1, address, a[..sizeBytes], onlyFirst);
        if (sources > 1)
        {
            Take(instruction, 2, address, b[..sizeBytes], onlyFirst);
        }

        for (var at = 0; at < sizeBytes; at += LaneBytes)
        {
            var result = lane(Lane(target, at), Lane(a, at), Lane(b, at));
            BinaryPrimitives.WriteInt32LittleEndian(target[at..], result);
        }

        target[sizeBytes..].Clear();
    }

    private void Take(in Instruction instruction, int operand, ulong address, Span<byte> target, bool onlyFirst)
    {
        if (instruction.GetOpKind(operand) == OpKind.Register)
        {
            var source = this[instruction.GetOpRegister(operand).GetNumber()];
            Fill(onlyFirst ? source[..LaneBytes] : source[..target.Length], target);
            return;
        }

        var sizeBytes = onlyFirst || instruction.IsBroadcast ? LaneBytes : target.Length;
        Fill(new ReadOnlySpan<byte>(memory.Read(address, sizeBytes), sizeBytes), target);
    }

    private static void Fill(ReadOnlySpan<byte> source, Span<byte> target)
    {
        for (var at = 0; at < target.Length; at += source.Length)
        {
            source.CopyTo(target[at..]);
        }
    }

    private static int Lane(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]);

    private static int SizeBytes(Register register) => register.GetSize();
}
