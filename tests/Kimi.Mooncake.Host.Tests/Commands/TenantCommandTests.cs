using System.Text.Json;

namespace Kimi.Mooncake.Host.Tests.Commands;

[TestFixture]
internal sealed class TenantCommandTests
{
    private const string AbcHash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    [Test]
    public async Task Key_ThenHashOfIt_AreTheSame()
    {
        var made = await CommandRun.OfAsync("tenant", "key", "--json");
        using var key = JsonDocument.Parse(made.Output);
        var again = await CommandRun.OfAsync("tenant", "key", "--json");

        var hashed = await CommandRun.OfAsync(
            key.RootElement.GetProperty("api_key").GetString() + "\n", ["tenant", "hash"]);

        Assert.That(made.Code, Is.Zero);
        Assert.That(hashed.Output, Does.Contain(key.RootElement.GetProperty("api_key_sha256").GetString()));
        Assert.That(again.Output, Is.Not.EqualTo(made.Output));
    }

    [Test]
    public async Task Hash_OfAKey_IsItsSha256()
    {
        var run = await CommandRun.OfAsync("abc\n", ["tenant", "hash"]);

        Assert.That((run.Code, run.Output), Is.EqualTo((0, $"api_key_sha256  {AbcHash}{Environment.NewLine}")));
    }

    [Test]
    public async Task Hash_OfNothing_IsAnError()
    {
        var run = await CommandRun.OfAsync("tenant", "hash");

        Assert.That(run.Code, Is.EqualTo(1));
        Assert.That(run.Error, Does.Contain("standard input has no API key"));
    }

    [Test]
    public async Task Check_RightAndWrongFile_SaysWhatIsInItOrWhatIsWrong()
    {
        var path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.json");
        var text = $$"""{"tenants":[{"tenant":"acme","api_key_sha256":"{{AbcHash}}","namespaces":["docs"]}]}""";
        try
        {
            await File.WriteAllTextAsync(path, text);
            var right = await CommandRun.OfAsync("tenant", "check", path);
            await File.WriteAllTextAsync(path, text.Replace("docs", "d o c s"));
            var wrong = await CommandRun.OfAsync("tenant", "check", path);
            var served = await CommandRun.OfAsync("serve", "--set", $"tenants.file={path}");

            Assert.That((right.Code, wrong.Code), Is.EqualTo((0, 1)));
            Assert.That(right.Output, Does.Contain("acme: 1 keys, shared namespaces docs"));
            Assert.That(wrong.Error, Does.Contain("tenants[0].namespaces"));
            Assert.That(served.Code, Is.Not.Zero);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
