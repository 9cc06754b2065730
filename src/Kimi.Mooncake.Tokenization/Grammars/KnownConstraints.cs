using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Tokenization.Grammars;

/// <summary>
/// Something that was worked out for a constraint, by what the constraint says: agents send the same tools with each
/// turn. Those asked for last are kept, and of a constraint itself no more than its hash. Safe for concurrent use.
/// </summary>
/// <typeparam name="T">What is worked out.</typeparam>
/// <param name="keptMax">Most constraints that are kept, at least 1.</param>
public sealed class KnownConstraints<T>(int keptMax)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, LinkedListNode<(string Key, T Value)>> _known = [];
    private readonly LinkedList<(string Key, T Value)> _used = [];

    /// <summary>How many are kept.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _known.Count;
            }
        }
    }

    /// <summary>What is known of a constraint, worked out if nothing is.</summary>
    /// <remarks>Two callers may work out the same at once; both get the result of the first that is done.</remarks>
    /// <param name="constraint">The constraint; where an answer begins and how its calls are numbered is the same to
    /// all.</param>
    /// <param name="workOut">Called outside of the lock; what it throws is not kept.</param>
    public T Find(OutputConstraint constraint, Func<OutputConstraint, T> workOut)
    {
        ArgumentNullException.ThrowIfNull(constraint);
        ArgumentNullException.ThrowIfNull(workOut);
        var key = KeyOf(constraint);
        lock (_lock)
        {
            if (_known.TryGetValue(key, out var known))
            {
                _used.Remove(known);
                _used.AddFirst(known);
                return known.Value.Value;
            }
        }

        var value = workOut(constraint);
        lock (_lock)
        {
            if (!_known.TryGetValue(key, out var node))
            {
                node = _used.AddFirst((key, value));
                _known.Add(key, node);
                if (_known.Count > keptMax)
                {
                    _known.Remove(_used.Last!.Value.Key);
                    _used.RemoveLast();
                }
            }

            return node.Value.Value;
        }
    }

    private static string KeyOf(OutputConstraint constraint)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, $"{constraint.ToolCalls} {constraint.ParallelToolCalls} {constraint.TextSchema is null}");
        Append(hash, constraint.TextSchema ?? "");
        foreach (var tool in constraint.Tools)
        {
            Append(hash, tool.Name);
            Append(hash, tool.ParametersSchema);
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private static void Append(IncrementalHash hash, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        hash.AppendData(BitConverter.GetBytes(bytes.Length));
        hash.AppendData(bytes);
    }
}
