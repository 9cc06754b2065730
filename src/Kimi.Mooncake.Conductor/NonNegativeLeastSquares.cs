namespace Kimi.Mooncake.Conductor;

/// <summary>Least squares in three unknowns that may not be negative, from the normal equations.</summary>
internal static class NonNegativeLeastSquares
{
    private const int Unknowns = 3;

    /// <summary>
    /// The best of the solutions with each subset of the unknowns, the others being zero; with three of them that is
    /// both exact and cheap.
    /// </summary>
    /// <param name="products">Sums of products of the terms, 3 x 3.</param>
    /// <param name="targets">Sums of terms times target.</param>
    /// <param name="ridge">Relative addition to the diagonal.</param>
    public static (double First, double Second, double Third) Solve(
        double[,] products, double[] targets, double ridge)
    {
        Span<double> best = stackalloc double[Unknowns];
        Span<double> candidate = stackalloc double[Unknowns];
        var bestError = 0d;
        for (var subset = 1; subset < 1 << Unknowns; subset++)
        {
            if (SolveSubset(products, targets, ridge, subset, candidate)
                && Error(products, targets, candidate) is var error && error < bestError)
            {
                bestError = error;
                candidate.CopyTo(best);
            }
        }

        return (best[0], best[1], best[2]);
    }

    // The sum of squared errors without its constant: x'Ax - 2 b'x.
    private static double Error(double[,] products, double[] targets, ReadOnlySpan<double> solution)
    {
        var error = 0d;
        for (var row = 0; row < Unknowns; row++)
        {
            var product = 0d;
            for (var column = 0; column < Unknowns; column++)
            {
                product += products[row, column] * solution[column];
            }

            error += solution[row] * (product - 2 * targets[row]);
        }

        return error;
    }

    // Gauss elimination on the subset's equations, scaled to a diagonal of one: the terms differ by ten magnitudes.
    private static bool SolveSubset(
        double[,] products, double[] targets, double ridge, int subset, Span<double> solution)
    {
        Span<double> matrix = stackalloc double[Unknowns * (Unknowns + 1)];
        Span<double> scale = stackalloc double[Unknowns];
        for (var row = 0; row < Unknowns; row++)
        {
            scale[row] = products[row, row] > 0 ? 1 / Math.Sqrt(products[row, row]) : 0;
        }

        for (var row = 0; row < Unknowns; row++)
        {
            var isIn = (subset & (1 << row)) != 0;
            if (isIn && scale[row] == 0)
            {
                return false;
            }

            for (var column = 0; column < Unknowns; column++)
            {
                var isBoth = isIn && (subset & (1 << column)) != 0;
                var scaled = isBoth ? products[row, column] * scale[row] * scale[column] : 0;
                matrix[row * 4 + column] = scaled + (row == column ? (isIn ? ridge : 1) : 0);
            }

            matrix[row * 4 + Unknowns] = isIn ? targets[row] * scale[row] : 0;
        }

        Eliminate(matrix);
        for (var row = 0; row < Unknowns; row++)
        {
            solution[row] = matrix[row * 4 + Unknowns] * ((subset & (1 << row)) != 0 ? scale[row] : 0);
            if (!(solution[row] >= 0) || !double.IsFinite(solution[row]))
            {
                return false;
            }
        }

        return true;
    }

    // The matrix is symmetric and, with the ridge, positive definite: no pivoting is needed.
    private static void Eliminate(Span<double> matrix)
    {
        for (var pivot = 0; pivot < Unknowns; pivot++)
        {
            for (var row = 0; row < Unknowns; row++)
            {
                if (row == pivot)
                {
                    continue;
                }

                var factor = matrix[row * 4 + pivot] / matrix[pivot * 4 + pivot];
                for (var column = pivot; column <= Unknowns; column++)
                {
                    matrix[row * 4 + column] -= factor * matrix[pivot * 4 + column];
                }
            }
        }

        for (var row = 0; row < Unknowns; row++)
        {
            matrix[row * 4 + Unknowns] /= matrix[row * 4 + row];
        }
    }
}
