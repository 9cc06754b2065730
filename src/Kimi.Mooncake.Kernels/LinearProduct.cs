namespace Kimi.Mooncake.Kernels;

/// <summary>One of several products of the same input.</summary>
/// <param name="Weight">What the input is multiplied with.</param>
/// <param name="Y">Receives the result; does not overlap the input or another product's result.</param>
/// <param name="IsAdded">Whether the result is added to what stands there.</param>
public readonly record struct LinearProduct(LinearWeight Weight, MatrixView Y, bool IsAdded = false);
