using System.Collections;
using Kimi.Mooncake.Host.Configuration;

namespace Kimi.Mooncake.Host.Tests.Configuration;

[TestFixture]
internal sealed class ResolvedSettingsTests
{
    [Test]
    public void Bind_WithoutSources_GivesTheDefaults() =>
        Assert.That(Resolve().Bind<SampleOptions>(), Is.EqualTo(new SampleOptions()));

    [Test]
    public void Bind_EveryKindOfValue_IsRead()
    {
        var options = Resolve(
            "sample.chunk_tokens=1024", "sample.memory_bytes=1.5GiB", "sample.share=0.25", "sample.is_on=true",
            "sample.directory=/a=b", "sample.mode=very_safe").Bind<SampleOptions>();

        Assert.That(options, Is.EqualTo(new SampleOptions
        {
            ChunkTokens = 1024,
            MemoryBytes = 3L << 29,
            Share = 0.25,
            IsOn = true,
            Directory = "/a=b",
            Mode = SampleMode.VerySafe,
        }));
    }

    [Test]
    public void Resolve_AllSources_TheLaterWinsAndIsNamed()
    {
        // Arrange
        var file = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.json");
        File.WriteAllText(
            file,
            """
            { // A comment is fine.
              "sample": { "chunk_tokens": 100, "share": 0.1, "directory": "d" },
              "sample.is_on": true,
            }
            """);
        var environment = new Hashtable
        {
            ["MOONCAKE_SAMPLE__CHUNK_TOKENS"] = "200",
            ["MOONCAKE_SAMPLE__SHARE"] = "0.2",
            ["MOONCAKE_HOME"] = "no setting",
            ["PATH"] = "no setting",
        };

        // Act
        var resolved = ResolvedSettings.Resolve(
            SampleOptions.Sections,
            SettingSources.FromFile(file)
                .Concat(SettingSources.FromEnvironment(environment))
                .Concat(SettingSources.FromArguments(["sample.chunk_tokens=300"])));

        // Assert
        var sources = resolved.All.ToDictionary(setting => setting.Setting.Name, setting => setting.Source);
        Assert.That(
            resolved.Bind<SampleOptions>(),
            Is.EqualTo(new SampleOptions { ChunkTokens = 300, Share = 0.2, Directory = "d", IsOn = true }));
        Assert.That(sources["sample.chunk_tokens"], Is.EqualTo("--set"));
        Assert.That(sources["sample.share"], Is.EqualTo("environment variable MOONCAKE_SAMPLE__SHARE"));
        Assert.That(sources["sample.directory"], Is.EqualTo($"file {file}"));
        Assert.That(sources["sample.mode"], Is.EqualTo("default"));
        File.Delete(file);
    }

    [TestCase("sample.chunk_tokens=15", "'15' from --set is not acceptable; expected a whole number from 16 to 4096")]
    [TestCase("sample.chunk_tokens=99999999999999", "expected a whole number from 16 to 4096 tokens")]
    [TestCase("sample.chunk_tokens=1e3", "expected a whole number")]
    [TestCase("sample.chunk_tokens=", "expected a whole number")]
    [TestCase("sample.memory_bytes=2TiB", "expected a whole number from 1KiB to 1TiB bytes")]
    [TestCase("sample.memory_bytes=0.3KiB", "expected a whole number from 1KiB")]
    [TestCase("sample.share=NaN", "expected a number from 0 to 1")]
    [TestCase("sample.share=1.01", "expected a number from 0 to 1")]
    [TestCase("sample.is_on=perhaps", "expected true or false")]
    [TestCase("sample.mode=1", "expected fast, very_safe")]
    [TestCase("sample.parts=wheel,engine", "expected one or several, with commas, of wheel, rear_light")]
    [TestCase("sample.parts=none", "expected one or several")]
    [TestCase("sample.parts=", "expected one or several")]
    [TestCase("sample.not_a_setting=1", "unknown setting sample.not_a_setting from --set")]
    [TestCase("sample.chunk_token=1", "did you mean sample.chunk_tokens?")]
    [TestCase("chunk", "expected section.name=value")]
    public void Resolve_UnacceptableValue_SaysWhatIsAccepted(string argument, string message) =>
        Assert.That(() => Resolve(argument), Throws.TypeOf<SettingException>().With.Message.Contains(message));

    [TestCase("[1]", "expected an object")]
    [TestCase("{", "file")]
    [TestCase("""{"sample":{"share":null}}""", "expected text, a number, true or false")]
    [TestCase("""{"sampel":{"share":1}}""", "unknown setting sampel.share")]
    public void FromFile_Malformed_NamesTheFile(string content, string message)
    {
        var file = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.json");
        File.WriteAllText(file, content);

        Assert.That(
            () => ResolvedSettings.Resolve(SampleOptions.Sections, SettingSources.FromFile(file)),
            Throws.TypeOf<SettingException>().With.Message.Contains(message).And.Message.Contains(file));
        File.Delete(file);
    }

    [TestCase("rear_light", SampleParts.RearLight, "rear_light")]
    [TestCase("Wheel, rearlight", SampleParts.Wheel | SampleParts.RearLight, "wheel,rear_light")]
    public void Resolve_Flags_TakesSeveralAndWritesThemAlike(string text, SampleParts expected, string written)
    {
        var resolved = Resolve($"sample.parts={text}");

        Assert.That(resolved.Bind<SampleOptions>().Parts, Is.EqualTo(expected));
        var parts = resolved.All.Single(setting => setting.Setting.Name == "sample.parts");
        Assert.That(parts.Setting.Format(parts.Value), Is.EqualTo(written));
    }

    [Test]
    public void FromFile_Missing_IsAnError() =>
        Assert.That(() => SettingSources.FromFile("no-such-file.json"), Throws.TypeOf<SettingException>());

    [TestCase("0", 0)]
    [TestCase("4096", 4096)]
    [TestCase("64 KiB", 65536)]
    [TestCase("1.5gib", 1610612736)]
    public void ByteSize_Text_IsExact(string text, long expected)
    {
        Assert.That(ByteSize.TryParse(text, out var bytes), Is.True);
        Assert.That(bytes, Is.EqualTo(expected));
        Assert.That(ByteSize.TryParse(ByteSize.Format(bytes), out var again) && again == bytes, Is.True);
    }

    [TestCase("-1")]
    [TestCase("1.5")]
    [TestCase("KiB")]
    [TestCase("99999999 TiB")]
    [TestCase("1 GB")]
    public void ByteSize_NoWholeNumberOfBytes_IsRefused(string text) =>
        Assert.That(ByteSize.TryParse(text, out _), Is.False);

    [Test]
    public void Sections_OfTheProduct_HaveUniqueNamesAndAcceptableDefaults()
    {
        foreach (var setting in SettingSection.All.SelectMany(Setting.Of))
        {
            Assert.That(setting.Meaning, Is.Not.Empty, setting.Name);
            var text = setting.Format(setting.Default);
            Assert.That(setting.Parse(text, "test"), Is.EqualTo(setting.Default), setting.Name);
        }
    }

    private static ResolvedSettings Resolve(params string[] arguments) =>
        ResolvedSettings.Resolve(SampleOptions.Sections, SettingSources.FromArguments(arguments));
}
