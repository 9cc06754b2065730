namespace Kimi.Mooncake.Engine;

/// <content>
/// Tenants take turns by tokens. Of those that wait, the one is next whose admitted prompts add up to the fewest
/// tokens, so that two that wait all the time differ by one prompt at most. The prefill tokens of a step are divided
/// equally; what one does not need goes to the others.
/// </content>
public sealed partial class EngineCore
{
    private readonly Dictionary<string, Tenant> _tenants = [];
    private readonly List<Tenant> _sharing = [];
    private long _admissionClock;
    private long _looks;

    private Tenant JoinTenant(string name)
    {
        if (!_tenants.TryGetValue(name, out var tenant))
        {
            tenant = new Tenant(name);
            _tenants.Add(name, tenant);
        }

        if (tenant.Queued == 0)
        {
            // Nobody saves up turns while he wants nothing.
            tenant.AdmittedTokens = Math.Max(tenant.AdmittedTokens, _admissionClock);
        }

        tenant.Live++;
        tenant.Queued++;
        return tenant;
    }

    private void LeaveTenant(Sequence sequence)
    {
        var tenant = sequence.Tenant;
        tenant.Queued -= sequence.WasAdmitted ? 0 : 1;
        tenant.Live--;
        if (tenant.Live == 0)
        {
            _tenants.Remove(tenant.Name);
        }
    }

    /// <summary>The sequence to be admitted next, but for preempted ones; null when none can be.</summary>
    private Sequence? NextInTurn()
    {
        Sequence? next = null;
        _looks++;
        foreach (var sequence in _waiting)
        {
            var tenant = sequence.Tenant;
            if (sequence.WasAdmitted
                || tenant.LastLook == _looks
                || (next is not null && tenant.AdmittedTokens >= next.Tenant.AdmittedTokens)
                || AwaitsBlock(sequence))
            {
                continue;
            }

            tenant.LastLook = _looks;
            next = sequence;
        }

        return next;
    }

    private void TakeTurn(Sequence sequence)
    {
        var tenant = sequence.Tenant;
        sequence.WasAdmitted = true;
        tenant.Queued--;
        _admissionClock = tenant.AdmittedTokens;
        tenant.AdmittedTokens += sequence.TokenCount;
    }

    /// <summary>Divides the prefill tokens of a step between the tenants that have any to compute.</summary>
    private void SharePrefill(int budget)
    {
        foreach (var sequence in _running)
        {
            if (sequence.State == SequenceState.Prefill)
            {
                if (sequence.Tenant.Demand == 0)
                {
                    _sharing.Add(sequence.Tenant);
                }

                sequence.Tenant.Demand += sequence.PromptLength - sequence.ComputedTokens;
            }
        }

        if (_sharing.Count > 1)
        {
            // What cannot be divided goes to those who have waited longest.
            _sharing.Sort(static (a, b) => a.LastGrant.CompareTo(b.LastGrant));
        }

        var open = _sharing.Count;
        while (open > 0 && budget > 0)
        {
            var share = Math.Max(1, budget / open);
            open = 0;
            foreach (var tenant in _sharing)
            {
                var tokens = (int)Math.Min(tenant.Demand - tenant.Grant, Math.Min(share, budget));
                tenant.Grant += tokens;
                budget -= tokens;
                open += tenant.Grant < tenant.Demand ? 1 : 0;
            }
        }

        foreach (var tenant in _sharing)
        {
            tenant.Demand = 0;
            tenant.LastGrant = tenant.Grant > 0 ? _counters.Steps + 1 : tenant.LastGrant;
        }

        _sharing.Clear();
    }
}
