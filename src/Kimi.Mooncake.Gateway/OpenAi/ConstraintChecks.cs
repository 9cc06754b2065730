using Kimi.Mooncake.Core;
using Kimi.Mooncake.Tokenization.Grammars;

namespace Kimi.Mooncake.Gateway.OpenAi;

/// <summary>Whether constraints can be followed, known for those asked for last. Safe for concurrent use.</summary>
/// <param name="knownMax">Most constraints that are known.</param>
/// <param name="check">Throws what is wrong with a constraint.</param>
internal sealed class ConstraintChecks(int knownMax, Action<OutputConstraint> check)
{
    private readonly KnownConstraints<SchemaException?> _known = new(knownMax);

    /// <summary>What is wrong with a constraint; null where nothing is.</summary>
    public SchemaException? FaultOf(OutputConstraint constraint) => _known.Find(constraint, Check);

    private SchemaException? Check(OutputConstraint constraint)
    {
        try
        {
            check(constraint);
            return null;
        }
        catch (SchemaException fault)
        {
            return fault;
        }
    }
}
