namespace Kimi.Mooncake.Kernels.Cpu;

/// <summary>The rows that meet one network, and where their values are.</summary>
/// <param name="Gate">Gate.</param>
/// <param name="Up">The other projection of the input.</param>
/// <param name="Down">Projection of the result.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="FirstSlot">Slot of the first, or -1 where all rows of the batch meet the network, in order.</param>
/// <param name="Inputs">Their inputs, one after another.</param>
/// <param name="FirstInput">Row of the first in <paramref name="Inputs"/>.</param>
/// <param name="Inner">What gate and up make of them, one after another.</param>
/// <param name="FirstInner">Row of the first in <paramref name="Inner"/>.</param>
/// <param name="FirstProduct">Row of the first in the products of all groups.</param>
internal readonly record struct ExpertGroup(
    PanelWeight Gate,
    PanelWeight Up,
    PanelWeight Down,
    int Rows,
    int FirstSlot,
    ActivationRows Inputs,
    int FirstInput,
    ActivationRows Inner,
    int FirstInner,
    int FirstProduct)
{
    /// <summary>Whether rows come with weights.</summary>
    internal bool IsChosen => FirstSlot >= 0;
}

/// <summary>A part of a group's product: some panels of some rows.</summary>
/// <param name="Group">Index of the group.</param>
/// <param name="Panel">First panel.</param>
/// <param name="Panels">Panels.</param>
/// <param name="Row">First row of the group.</param>
/// <param name="Rows">Rows.</param>
internal readonly record struct ExpertTask(int Group, int Panel, int Panels, int Row, int Rows);
