using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Gateway.Tenancy;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>What a tenants file may say, and what is said of one that is wrong.</summary>
[TestFixture]
internal sealed class TenantsFileTests
{
    private string _path = "";

    [SetUp]
    public void ChooseFile() => _path = Path.Combine(
        TestContext.CurrentContext.WorkDirectory, $"tenants-{Guid.NewGuid():N}.json");

    [TearDown]
    public void DeleteFile() => File.Delete(_path);

    [Test]
    public void Read_WholeFile_GivesWhatItSays()
    {
        var entries = Read(
            "// keys of 2026\n{'tenants':[{'tenant':'acme','api_key_sha256':['" + Hash("one") + "','" +
            Hash("two").ToUpperInvariant() + "'],'namespaces':['docs','law'],'store_quota_bytes':1024}," +
            "{'tenant':'b','api_key_sha256':'" + Hash("three") + "'},]}");

        Assert.That(entries.Select(entry => entry.Tenant), Is.EqualTo(["acme", "b"]));
        Assert.That(
            entries[0].KeyHashes.Select(Convert.ToHexStringLower), Is.EqualTo([Hash("one"), Hash("two")]));
        Assert.That(entries[0].Namespaces, Is.EquivalentTo(["docs", "law"]));
        Assert.That(entries.Select(entry => entry.StoreQuotaBytes), Is.EqualTo(new long?[] { 1024, null }));
        Assert.That(entries[1].Namespaces, Is.Empty);
    }

    [TestCase("{", "line 1, byte")]
    [TestCase("[]", "an array; expected an object")]
    [TestCase("{}", "field tenants: expected a list")]
    [TestCase("{'tenants':[]}", "field tenants: 0 entries; expected 1 to 10000")]
    [TestCase("{'tenants':[],'tenant':1}", "unknown field 'tenant'; expected tenants")]
    [TestCase("{'tenants':[1]}", "tenants[0]: the number 1; expected an object")]
    [TestCase("{'tenants':[{'tenant':'a','api_key':'b'}]}", "tenants[0]: unknown field 'api_key'")]
    [TestCase("{'tenants':[{'tenant':'two words','api_key_sha256':'HASH'}]}", "tenants[0].tenant: expected 1 to 120")]
    [TestCase("{'tenants':[{'api_key_sha256':'HASH'}]}", "tenants[0].tenant: expected")]
    [TestCase("{'tenants':[{'tenant':'a'}]}", "tenants[0].api_key_sha256: none")]
    [TestCase(
        "{'tenants':[{'tenant':'a','api_key_sha256':'secret'}]}", "tenants[0].api_key_sha256: 'secret'; expected 64")]
    [TestCase("{'tenants':[{'tenant':'a','api_key_sha256':7}]}", "tenants[0].api_key_sha256: expected a text")]
    [TestCase(
        "{'tenants':[{'tenant':'a','api_key_sha256':'HASH'},{'tenant':'a','api_key_sha256':'OTHER'}]}",
        "tenants[1].tenant: 'a' again")]
    [TestCase(
        "{'tenants':[{'tenant':'a','api_key_sha256':'HASH'},{'tenant':'b','api_key_sha256':'HASH'}]}",
        "tenants[1].api_key_sha256: ")]
    [TestCase(
        "{'tenants':[{'tenant':'a','api_key_sha256':'HASH','namespaces':['x y']}]}",
        "tenants[0].namespaces: 'x y'; expected 1 to 120")]
    [TestCase(
        "{'tenants':[{'tenant':'a','api_key_sha256':'HASH','store_quota_bytes':-1}]}",
        "tenants[0].store_quota_bytes: the number -1")]
    public void Read_SomethingWrong_NamesFileEntryAndField(string text, string message)
    {
        text = text.Replace("HASH", Hash("one")).Replace("OTHER", Hash("two"));

        var fault = Assert.Throws<TenantsFileException>(() => Read(text));

        Assert.That(fault!.Message, Does.StartWith($"tenants file '{_path}'").And.Contain(message));
    }

    [Test]
    public void Read_NoFile_SaysSo()
    {
        var fault = Assert.Throws<TenantsFileException>(() => TenantsFile.Read(_path));

        Assert.That(fault!.Message, Does.Contain(_path).And.Contain("cannot be read"));
    }

    internal static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    private IReadOnlyList<TenantEntry> Read(string text)
    {
        File.WriteAllText(_path, text.Replace('\'', '"'));
        return TenantsFile.Read(_path);
    }
}
