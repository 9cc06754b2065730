using Kimi.Mooncake.Core;
using Kimi.Mooncake.Host.Configuration;

namespace Kimi.Mooncake.Host.Tests.Configuration;

internal enum SampleMode
{
    Fast,
    VerySafe,
}

[Flags]
internal enum SampleParts
{
    None = 0,
    Wheel = 1,
    RearLight = 2,
}

internal sealed record SampleOptions
{
    [Setting("Prompt tokens in a step.", Unit = "tokens", Min = 16, Max = 4096)]
    public int ChunkTokens { get; init; } = 512;

    [Setting("Memory.", Unit = "bytes", Min = 1024, Max = 1L << 40)]
    public long MemoryBytes { get; init; } = 1 << 20;

    [Setting("Share.", Min = 0, Max = 1)]
    public double Share { get; init; } = 0.5;

    [Setting("Whether it is on.")]
    public bool IsOn { get; init; }

    [Setting("A folder.")]
    public string Directory { get; init; } = "";

    [Setting("How careful.")]
    public SampleMode Mode { get; init; }

    [Setting("Which parts.")]
    public SampleParts Parts { get; init; } = SampleParts.Wheel;

    public int NotASetting { get; init; } = 7;

    public static IReadOnlyList<SettingSection> Sections { get; } = [new("sample", typeof(SampleOptions))];
}
