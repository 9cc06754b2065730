namespace Kimi.Mooncake.Worker.Peers;

/// <summary>A load or save of the engine, whose blocks go several ways. Its owner's lock guards it.</summary>
/// <param name="ticket">What the engine knows it by.</param>
/// <param name="blocks">Blocks asked for.</param>
internal sealed class SplitTransfer(long ticket, int blocks)
{
    private int _partsLeft;

    public long Ticket { get; } = ticket;

    /// <summary>Blocks before the first that could not be moved.</summary>
    public int Leading { get; private set; } = blocks;

    /// <summary>Whether any part was begun.</summary>
    public bool HasParts { get; private set; }

    /// <summary>A part was begun.</summary>
    public void Begin()
    {
        HasParts = true;
        _partsLeft++;
    }

    /// <summary>A block cannot be moved.</summary>
    public void Miss(int index) => Leading = Math.Min(Leading, index);

    /// <summary>A part is done.</summary>
    /// <param name="indices">Its blocks, among those of the whole.</param>
    /// <param name="moved">How many of the first of them were moved.</param>
    /// <returns>Whether it was the last part.</returns>
    public bool End(int[] indices, int moved)
    {
        if (moved < indices.Length)
        {
            Miss(indices[moved]);
        }

        return --_partsLeft == 0;
    }
}
