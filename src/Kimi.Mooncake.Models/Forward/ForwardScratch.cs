using Kimi.Mooncake.Kernels;

namespace Kimi.Mooncake.Models;

/// <summary>The intermediate matrices of a forward pass, allocated once for the largest pass.</summary>
internal sealed class ForwardScratch : IDisposable
{
    public ForwardScratch(KimiConfig config, int rowsMax, int logitsRowsMax)
    {
        Residual = new Matrix(rowsMax, config.HiddenSize);
        Normed = new Matrix(rowsMax, config.HiddenSize);
        QueryLatent = new Matrix(rowsMax, Math.Max(1, config.QueryLoraRank));
        Queries = new Matrix(rowsMax, config.HeadCount * (config.NopeDimension + config.RopeDimension));
        KvRows = new Matrix(rowsMax, config.KvLoraRank + config.RopeDimension);
        AttentionOutput = new Matrix(rowsMax, config.HeadCount * config.ValueDimension);
        LastRows = new Matrix(logitsRowsMax, config.HiddenSize);
        Logits = new Matrix(logitsRowsMax, config.VocabularySize);
    }

    public Matrix Residual { get; }

    public Matrix Normed { get; }

    public Matrix QueryLatent { get; }

    public Matrix Queries { get; }

    public Matrix KvRows { get; }

    public Matrix AttentionOutput { get; }

    public Matrix LastRows { get; }

    public Matrix Logits { get; }

    public void Dispose()
    {
        Residual.Dispose();
        Normed.Dispose();
        QueryLatent.Dispose();
        Queries.Dispose();
        KvRows.Dispose();
        AttentionOutput.Dispose();
        LastRows.Dispose();
        Logits.Dispose();
    }
}
