namespace Kimi.Mooncake.Worker.Peers;

/// <summary>A load or save of the engine, whose blocks go several ways. Its owner's lock guards it.</summary>
/// <param name="ticket">What the engine knows it by.</param>
/// <param name="blocks">Blocks asked for.</param>
internal sealed class SplitTransfer(long ticket, int blocks)
{
    private readonly int _blocks = blocks;

    // Of a save: whether anybody was given a block, and whether anybody has it now.
    private (bool IsGiven, bool IsStored)[]? _saved;
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

    /// <summary>Every block is to be saved: one that is given to nobody is not.</summary>
    public void Expect()
    {
        _saved = new (bool, bool)[_blocks];
        Array.Fill(_saved, (true, false));
    }

    /// <summary>
    /// A part of a save is done, of which blocks may have other parts: a block is saved when one of them has it.
    /// </summary>
    /// <param name="indices">Its blocks, among those of the whole.</param>
    /// <param name="stored">How many of the first of them were stored.</param>
    /// <returns>Whether it was the last part.</returns>
    public bool EndSave(int[] indices, int stored)
    {
        _saved ??= new (bool, bool)[_blocks];
        for (var i = 0; i < indices.Length; i++)
        {
            ref var saved = ref _saved[indices[i]];
            saved = (true, saved.IsStored || i < stored);
        }

        if (--_partsLeft > 0)
        {
            return false;
        }

        var first = Array.FindIndex(_saved, static saved => saved.IsGiven && !saved.IsStored);
        if (first >= 0)
        {
            Miss(first);
        }

        return true;
    }

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
