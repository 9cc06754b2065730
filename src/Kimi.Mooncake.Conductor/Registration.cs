namespace Kimi.Mooncake.Conductor;

/// <summary>
/// One registration of a node. A node that registers again gets another one, and what still arrives under the earlier
/// is refused; so a late end of a broken connection does not remove the node that came back.
/// </summary>
/// <param name="Value">Number of the registration, from 1.</param>
public readonly record struct MembershipId(long Value);

/// <summary>Why a registration was refused.</summary>
public enum RegistrationRefusal
{
    /// <summary>It was not.</summary>
    None,

    /// <summary>A field is out of its range.</summary>
    Invalid,

    /// <summary>The cluster serves another model.</summary>
    OtherModel,

    /// <summary>The cluster's blocks lie otherwise.</summary>
    OtherLayout,

    /// <summary>A later start of the node is registered.</summary>
    StaleEpoch,

    /// <summary>Another process of this name and start is registered at another address.</summary>
    Duplicate,

    /// <summary>As many nodes are registered as may be.</summary>
    ClusterFull,
}

/// <summary>Answer to a registration.</summary>
/// <param name="Membership">Names the registration; meaningless when it was refused.</param>
/// <param name="Refusal">Why it was refused.</param>
/// <param name="Message">For people: what differs, and what was expected; empty when it was accepted.</param>
public readonly record struct RegistrationResult(MembershipId Membership, RegistrationRefusal Refusal, string Message)
{
    /// <summary>Whether the node is a member now.</summary>
    public bool IsAccepted => Refusal == RegistrationRefusal.None;
}
