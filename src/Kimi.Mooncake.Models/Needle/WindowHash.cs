using System.Numerics;

namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// The linear map from the codes of a window of 24 symbols to 120 values whose inner product compares two windows:
/// the nearest eight symbols are kept exactly, the other sixteen are added up in seven scrambled, signed sums.
/// </summary>
internal static class WindowHash
{
    public const int Size = 120;
    public const int ExactSymbols = 8;
    public const int HashedSymbols = NeedleShape.Window - ExactSymbols;
    public const int ExactSize = ExactSymbols * NeedleShape.Code;
    public const int HashedSize = Size - ExactSize;

    private const double Decay = 0.92;

    /// <summary>Seven rows of the Hadamard matrix of order 16: the signs of the sums.</summary>
    private static readonly int[] HadamardRows = [1, 2, 4, 7, 8, 11, 13];

    /// <summary>Weight of each symbol, nearest first. The squares fall by 8 % a step and sum to 1.</summary>
    public static double[] Weights { get; } =
    [
        .. Enumerable.Range(0, NeedleShape.Window)
            .Select(k => Math.Sqrt(Math.Pow(Decay, k) * (1 - Decay) / (1 - Math.Pow(Decay, NeedleShape.Window)))),
    ];

    /// <summary><c>[Size, Window * Code]</c>; a window of codes has length <c>sqrt 2</c> before and 1 after.</summary>
    public static double[,] Map { get; } = MakeMap();

    private static double[,] MakeMap()
    {
        var map = new double[Size, NeedleShape.Window * NeedleShape.Code];
        for (var i = 0; i < ExactSize; i++)
        {
            map[i, i] = Weights[i / NeedleShape.Code] / Math.Sqrt(2);
        }

        for (var sum = 0; sum < HadamardRows.Length; sum++)
        {
            for (var symbol = 0; symbol < HashedSymbols; symbol++)
            {
                var sign = (BitOperations.PopCount((uint)(HadamardRows[sum] & symbol)) & 1) == 1 ? -1.0 : 1.0;
                AddScrambled(map, sum, symbol, sign);
            }
        }

        return map;
    }

    /// <summary>Adds a symbol to a sum: a signed permutation of its code that differs from symbol to symbol.</summary>
    private static void AddScrambled(double[,] map, int sum, int symbol, double sign)
    {
        var weight = Weights[ExactSymbols + symbol];
        for (var m = 0; m < NeedleShape.Code; m++)
        {
            for (var n = 0; n < NeedleShape.Code; n++)
            {
                var scramble = 0.0;
                if (n == ((3 * m) + symbol) % NeedleShape.Code)
                {
                    scramble = m == symbol % 8 || m == (symbol + 1 + (symbol / 8)) % 8 ? -1 : 1;
                }

                map[ExactSize + (NeedleShape.Code * sum) + m, (NeedleShape.Code * (ExactSymbols + symbol)) + n] =
                    scramble * sign * weight / Math.Sqrt(14);
            }
        }
    }
}
