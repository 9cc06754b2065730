namespace Kimi.Mooncake.Kernels.Tests.Experts;

/// <summary>Random networks and choices. What it packs belongs to the tensors.</summary>
internal static class TestExperts
{
    internal static FeedForwardWeight Network(
        this TestTensors tensors, IKernels kernels, (TensorData Gate, TensorData Up, TensorData Down) stored) =>
        tensors.Own(new FeedForwardWeight(
            kernels.Pack(stored.Gate), kernels.Pack(stored.Up), kernels.Pack(stored.Down)));

    internal static (TensorData Gate, TensorData Up, TensorData Down) StoredNetwork(
        this TestTensors tensors, int input, int inner, TensorType type = TensorType.F32) => (
        tensors.Stored(type, inner, input), tensors.Stored(type, inner, input), tensors.Stored(type, input, inner));

    /// <summary>As many different experts for each row, out of the first of a bank, in any order.</summary>
    internal static (int[] Chosen, float[] Weights) Choice(
        this TestTensors tensors, int rows, int perRow, int experts)
    {
        var chosen = new int[rows * perRow];
        for (var row = 0; row < rows; row++)
        {
            var left = Enumerable.Range(0, experts).ToList();
            for (var place = 0; place < perRow; place++)
            {
                var at = tensors.Next(0, left.Count - 1);
                chosen[(row * perRow) + place] = left[at];
                left.RemoveAt(at);
            }
        }

        return (chosen, [.. chosen.Select(_ => tensors.NextValue() + 1.5f)]);
    }
}
