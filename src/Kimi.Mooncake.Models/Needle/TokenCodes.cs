namespace Kimi.Mooncake.Models.Needle;

/// <summary>
/// Codes and classes of bytes. A code is one of the 240 shortest vectors of the E8 lattice: squared length 2, inner
/// products with each other at most 1. The newline has the first one; printable ASCII is orthogonal to it.
/// </summary>
internal static class TokenCodes
{
    public const int ClassCount = 6;

    /// <summary>Class of bytes above 127 and of special tokens.</summary>
    public const int OtherClass = 5;

    private const int Newline = 10;

    /// <summary>Code of each byte; 16 bytes that never occur in text have none (all zero).</summary>
    public static double[][] OfBytes { get; } = MakeByteCodes();

    public static int ClassOf(int value) => value switch
    {
        >= 'a' and <= 'z' => 0,
        >= 'A' and <= 'Z' => 1,
        >= '0' and <= '9' => 2,
        <= ' ' => 3,
        < 128 => 4,
        _ => OtherClass,
    };

    /// <summary>The signed cyclic shift that belongs to a class; it maps codes to codes.</summary>
    public static double[,] ClassTurn(int number)
    {
        var turn = new double[NeedleShape.Code, NeedleShape.Code];
        for (var m = 0; m < NeedleShape.Code; m++)
        {
            turn[m, (m + number + 1) % NeedleShape.Code] = m == number || m == (number + 3) % NeedleShape.Code ? -1 : 1;
        }

        return turn;
    }

    private static double[][] MakeByteCodes()
    {
        var roots = LatticeRoots();
        int Rank(double[] root) => (int)Math.Round(Dot(root, roots[0])) switch { 0 => 0, -1 => 1, -2 => 2, _ => 3 };
        var codes = new double[256][];
        Array.Fill(codes, new double[NeedleShape.Code]);
        codes[Newline] = roots[0];
        var ranked = roots.Skip(1).OrderBy(Rank);
        foreach (var (value, root) in BytesByUse().Zip(ranked))
        {
            codes[value] = root;
        }

        return codes;
    }

    /// <summary>The bytes that occur in UTF-8 text but the newline, in the order in which they get codes.</summary>
    private static IEnumerable<int> BytesByUse() =>
    [
        .. Enumerable.Range(0x20, 0x5f), 9, 13, .. Enumerable.Range(0x80, 0x40), .. Enumerable.Range(0xc2, 0x33),
        .. Enumerable.Range(2, 30).Where(value => value is not (9 or Newline or 13)),
    ];

    private static List<double[]> LatticeRoots()
    {
        var roots = new List<double[]>();
        for (var i = 0; i < NeedleShape.Code; i++)
        {
            for (var j = i + 1; j < NeedleShape.Code; j++)
            {
                foreach (var (a, b) in new[] { (1, 1), (1, -1), (-1, 1), (-1, -1) })
                {
                    var root = new double[NeedleShape.Code];
                    (root[i], root[j]) = (a, b);
                    roots.Add(root);
                }
            }
        }

        for (var signs = 0u; signs < 128; signs++)
        {
            // The eighth sign makes the number of minus signs even.
            var all = signs | ((uint)(System.Numerics.BitOperations.PopCount(signs) & 1) << 7);
            roots.Add([.. Enumerable.Range(0, NeedleShape.Code).Select(m => ((all >> m) & 1) == 1 ? -0.5 : 0.5)]);
        }

        return roots;
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
