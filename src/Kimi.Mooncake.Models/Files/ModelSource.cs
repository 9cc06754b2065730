using Kimi.Mooncake.Kernels;
using Kimi.Mooncake.Models.Gguf;
using Kimi.Mooncake.Models.Safetensors;

namespace Kimi.Mooncake.Models;

/// <summary>
/// An open model, whatever container its weights come in: configuration, vocabulary and tensors by what they do in the
/// network. It owns the mapped files; what it gives is valid until it is disposed. Every fault of the files is a
/// <see cref="ModelFileException"/>.
/// </summary>
public abstract class ModelSource : IDisposable
{
    /// <summary>Path that was opened.</summary>
    public abstract string Path { get; }

    /// <summary>Kind of the files.</summary>
    public abstract ModelContainer Container { get; }

    /// <summary>Dimensions and constants.</summary>
    public abstract KimiConfig Config { get; }

    /// <summary>Bytes of all files with weights.</summary>
    public abstract long LengthBytes { get; }

    /// <summary>Every tensor as stored, those that the network does not use too.</summary>
    public abstract IReadOnlyList<StoredTensor> Tensors { get; }

    /// <summary>Jinja text of the conversation format that the files carry; null where there is none.</summary>
    public abstract string? ChatTemplate { get; }

    /// <summary>Token ids that end a text or turn, as the files say.</summary>
    public abstract IReadOnlyList<int> EosTokens { get; }

    /// <summary>What the files call the network, such as <c>deepseek2</c> or <c>kimi_k2</c>.</summary>
    public abstract string Architecture { get; }

    /// <summary>A sentence for each value that the files lack and that was assumed, and for what is not used.</summary>
    public abstract IReadOnlyList<string> Notes { get; }

    /// <summary>The vocabulary; null where the files have none.</summary>
    /// <exception cref="ModelFileException">It contradicts itself.</exception>
    public abstract VocabularySource? Vocabulary { get; }

    /// <summary>Opens a model. Reads headers and configuration only; weights are mapped.</summary>
    /// <param name="path">
    /// A GGUF file, of a split model any part; or a folder with <c>config.json</c> and safetensors files, one of its
    /// JSON or safetensors files, or a folder with one GGUF model.
    /// </param>
    /// <param name="options">What to do where the files leave a choice.</param>
    /// <exception cref="ModelFileException">A file cannot be opened, is malformed or is not supported.</exception>
    public static ModelSource Open(string path, ModelReadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new ModelReadOptions();
        var found = ModelPath.Find(path);
        return found.Container == ModelContainer.Safetensors
            ? new SafetensorsModelSource(found.Path, found.Index, options)
            : new GgufModelSource(found.Path, options);
    }

    /// <summary>
    /// Names the function that the model computes: the same weights and constants in the same container have the same
    /// fingerprint wherever the files lie.
    /// </summary>
    /// <returns>64 lower-case hexadecimal digits.</returns>
    public abstract string Fingerprint();

    /// <summary>
    /// Verifies that every tensor that the network needs is there, with its due shape and in a type that can be
    /// computed with, and that there is no layer beyond the last.
    /// </summary>
    /// <exception cref="ModelFileException">It is not; the message names the tensor.</exception>
    public virtual void Check()
    {
        for (var layer = 0; layer < Config.LayerCount; layer++)
        {
            AttentionUp(layer, Config.AttentionShape);
        }

        foreach (var (role, layer, expert) in KimiTensors.All(Config))
        {
            Tensor(role, layer, expert);
        }
    }

    /// <summary>A matrix or vector of the network, in the shape of <see cref="KimiTensors.ShapeOf"/>.</summary>
    /// <param name="role">What it does.</param>
    /// <param name="layer">Its layer; -1 outside the layers.</param>
    /// <param name="expert">Its routed expert; -1 outside the experts.</param>
    /// <exception cref="ModelFileException">It is missing, has another shape or a type without support.</exception>
    public abstract TensorData Tensor(TensorRole role, int layer = -1, int expert = -1);

    /// <summary>The up-projections of keys and values of a layer.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="shape">Dimensions of attention, those of the configuration.</param>
    /// <exception cref="ModelFileException">They are missing, have another shape or a type without support.</exception>
    public abstract AttentionProjections AttentionUp(int layer, AttentionShape shape);

    /// <summary>Asks the system to read the files in the background, before anything waits for them.</summary>
    public abstract void ReadAhead();

    /// <inheritdoc />
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes the files.</summary>
    protected abstract void Dispose(bool disposing);
}
