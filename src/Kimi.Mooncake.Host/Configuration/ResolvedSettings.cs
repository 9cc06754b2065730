namespace Kimi.Mooncake.Host.Configuration;

/// <summary>A setting, the value in force and where it came from.</summary>
internal sealed record ResolvedSetting(Setting Setting, object? Value, string Source);

/// <summary>
/// All settings with the values in force. Later sources win: default, file, environment, command line. An unknown name
/// or an unacceptable value is an error wherever it stands, even where a later source would win.
/// </summary>
internal sealed class ResolvedSettings
{
    public const string DefaultSource = "default";

    private const int SuggestionsMax = 3;

    private readonly IReadOnlyList<SettingSection> _sections;
    private readonly Dictionary<string, ResolvedSetting> _byName;

    private ResolvedSettings(IReadOnlyList<SettingSection> sections, Dictionary<string, ResolvedSetting> byName)
    {
        _sections = sections;
        _byName = byName;
    }

    /// <summary>Every setting, in the order of sections and records.</summary>
    public IEnumerable<ResolvedSetting> All => _byName.Values;

    /// <summary>Puts the given values over the defaults, in the order given.</summary>
    /// <exception cref="SettingException">A name is unknown or a value unacceptable.</exception>
    public static ResolvedSettings Resolve(IReadOnlyList<SettingSection> sections, IEnumerable<GivenValue> values)
    {
        var byName = sections.SelectMany(Setting.Of)
            .Select(setting => new ResolvedSetting(setting, setting.Default, DefaultSource))
            .ToDictionary(resolved => resolved.Setting.Name);
        return new ResolvedSettings(sections, byName).With(values);
    }

    /// <summary>The same settings with some values replaced.</summary>
    /// <exception cref="SettingException">A name is unknown or a value unacceptable.</exception>
    public ResolvedSettings With(IEnumerable<GivenValue> values)
    {
        var byName = new Dictionary<string, ResolvedSetting>(_byName);
        foreach (var given in values)
        {
            if (!byName.TryGetValue(given.Name, out var known))
            {
                throw new SettingException(
                    $"unknown setting {given.Name} from {given.Source}{Suggest(given.Name, byName.Keys)}");
            }

            var value = known.Setting.Parse(given.Text, given.Source);
            byName[given.Name] = known with { Value = value, Source = given.Source };
        }

        return new ResolvedSettings(_sections, byName);
    }

    /// <summary>The options record of a section with the values in force.</summary>
    public TOptions Bind<TOptions>()
        where TOptions : class
    {
        var section = _sections.Single(section => section.OptionsType == typeof(TOptions));
        var options = section.CreateDefault();
        foreach (var resolved in _byName.Values.Where(resolved => resolved.Setting.Section == section.Name))
        {
            if (resolved.Source != DefaultSource)
            {
                resolved.Setting.Assign(options, resolved.Value);
            }
        }

        return (TOptions)options;
    }

    private static string Suggest(string name, IEnumerable<string> known)
    {
        var near = known.Select(candidate => (candidate, distance: Distance(name, candidate)))
            .Where(pair => pair.distance <= Math.Max(3, name.Length / 3))
            .OrderBy(pair => pair.distance)
            .Take(SuggestionsMax)
            .Select(pair => pair.candidate)
            .ToList();
        return near.Count == 0
            ? "; `mooncake config` lists all settings"
            : $"; did you mean {string.Join(" or ", near)}?";
    }

    /// <summary>Levenshtein distance.</summary>
    private static int Distance(string left, string right)
    {
        var row = Enumerable.Range(0, right.Length + 1).ToArray();
        for (var i = 0; i < left.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i + 1;
            for (var j = 0; j < right.Length; j++)
            {
                var substitution = diagonal + (left[i] == right[j] ? 0 : 1);
                diagonal = row[j + 1];
                row[j + 1] = Math.Min(substitution, Math.Min(row[j], row[j + 1]) + 1);
            }
        }

        return row[right.Length];
    }
}
