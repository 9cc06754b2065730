using Iced.Intel;

namespace Kimi.Mooncake.Kernels.Tests.Amx;

/// <summary>The flags that arithmetic leaves and branches read, for operands of 4 or 8 bytes.</summary>
internal sealed class MachineFlags
{
    private bool _zero;
    private bool _carry;
    private bool _sign;
    private bool _overflow;

    internal static ulong Sized(ulong value, int size) => size == sizeof(uint) ? (uint)value : value;

    internal ulong Add(ulong left, ulong right, int size)
    {
        var sum = Sized(left + right, size);
        Set(sum, size, carry: sum < left, overflow: Sign((left ^ sum) & (right ^ sum), size));
        return sum;
    }

    internal ulong Subtract(ulong left, ulong right, int size)
    {
        var difference = Sized(left - right, size);
        Set(difference, size, carry: left < right, overflow: Sign((left ^ right) & (left ^ difference), size));
        return difference;
    }

    /// <summary>Leaves the carry as it was.</summary>
    internal ulong Decrement(ulong value, int size)
    {
        var carry = _carry;
        var result = Subtract(value, 1, size);
        _carry = carry;
        return result;
    }

    internal void And(ulong left, ulong right, int size) => Set(left & right, size, carry: false, overflow: false);

    internal bool Holds(ConditionCode condition) => condition switch
    {
        ConditionCode.e => _zero,
        ConditionCode.ne => !_zero,
        ConditionCode.b => _carry,
        ConditionCode.ae => !_carry,
        ConditionCode.a => !_carry && !_zero,
        ConditionCode.be => _carry || _zero,
        ConditionCode.l => _sign != _overflow,
        ConditionCode.ge => _sign == _overflow,
        ConditionCode.g => !_zero && _sign == _overflow,
        ConditionCode.le => _zero || _sign != _overflow,
        ConditionCode.s => _sign,
        ConditionCode.ns => !_sign,
        _ => throw new NotSupportedException($"condition {condition}"),
    };

    private static bool Sign(ulong value, int size) => (value >> ((8 * size) - 1) & 1) != 0;

    private void Set(ulong result, int size, bool carry, bool overflow)
    {
        _zero = Sized(result, size) == 0;
        _sign = Sign(result, size);
        (_carry, _overflow) = (carry, overflow);
    }
}
