using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Engine;

/// <summary>What the engine has done for one tenant, as far as it must be known to share fairly.</summary>
internal sealed class Tenant(string name)
{
    public string Name { get; } = name;

    /// <summary>What comes with its blocks unless a request asks for more.</summary>
    public BlockAttributes Attributes { get; } = new(name, default, BlockClass.Prompt);

    /// <summary>Its sequences that have not ended.</summary>
    public int Live { get; set; }

    /// <summary>Its sequences that wait for their first admission.</summary>
    public int Queued { get; set; }

    /// <summary>
    /// Prompt tokens admitted so far, on a clock that all tenants share: who comes late starts where the others are.
    /// </summary>
    public long AdmittedTokens { get; set; }

    /// <summary>The last look at the queue in which one of its sequences was a candidate.</summary>
    public long LastLook { get; set; }

    /// <summary>Prompt tokens that its sequences could compute in the step being planned.</summary>
    public long Demand { get; set; }

    /// <summary>Of those, the tokens that it is given.</summary>
    public int Grant { get; set; }

    /// <summary>The step in which it was last given any.</summary>
    public long LastGrant { get; set; }
}
