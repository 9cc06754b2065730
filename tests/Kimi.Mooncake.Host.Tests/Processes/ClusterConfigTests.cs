using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Tests.Processes;

[TestFixture]
internal sealed class ClusterConfigTests
{
    private const string Gateway = """{ "name": "g", "role": "gateway" }""";

    private string _file = "";

    [SetUp]
    public void NameFile() =>
        _file = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"{Guid.NewGuid():N}.json");

    [TearDown]
    public void DeleteFile() => File.Delete(_file);

    [Test]
    public void Read_CountsAndSettings_GivesEachProcessItsOwn()
    {
        var config = Read("""
            {
              "settings": { "worker": { "threads": 3 }, "logging.level": "error" }, // for all
              "processes": [
                { "name": "g", "role": "gateway", "port": 4 },
                { "name": "w", "role": "prefill,decode", "count": 2, "settings": { "worker.threads": 1 } },
              ]
            }
            """);

        Assert.That(config.Processes.Select(process => (process.Name, process.Roles, process.Port)), Is.EqualTo(new[]
        {
            ("g", ServeRoles.Gateway, 4),
            ("w-1", ServeRoles.Prefill | ServeRoles.Decode, 6),
            ("w-2", ServeRoles.Prefill | ServeRoles.Decode, 8),
        }));
        Assert.That(
            config.Processes[1].Settings.Select(given => $"{given.Name}={given.Text}"),
            Is.EqualTo(new[] { "worker.threads=3", "logging.level=error", "worker.threads=1" }));
        Assert.That((config.Gateway.Name, config.Conductor!.Name), Is.EqualTo(("g", "g")));
    }

    [TestCase("[]", "the file: expected an object")]
    [TestCase("{", "file ")]
    [TestCase("{}", "processes: expected an array of at least one")]
    [TestCase("""{ "processes": [], "proceses": 1 }""", "the file.proceses: unknown")]
    [TestCase("""{ "processes": [7] }""", "processes[0]: expected an object")]
    [TestCase("""{ "processes": [{ "role": "gateway" }] }""", "processes[0].name: expected text")]
    [TestCase("""{ "processes": [{ "name": "A b", "role": "gateway" }] }""", "processes[0].name: 'A b'")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "gatway" }] }""", "processes[0].role")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "all,decode" }] }""", "role all stands for a process by")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "gateway", "port": -1 }] }""", "processes[0].port: -1")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "gateway", "count": 0 }] }""", "processes[0].count: 0")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "decode" }] }""", "none has the role gateway")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "gateway", "settings": 1 }] }""", "processes[0].settings")]
    [TestCase("""{ "processes": [{ "name": "a", "role": "all" }, """ + Gateway + "] }", "role all is a cluster by")]
    [TestCase("{ \"processes\": [" + Gateway + "," + Gateway + "] }", "2 have the name g")]
    [TestCase("""{ "processes": [{ "name": "h", "role": "gateway" }, """ + Gateway + "] }", "expected one conductor")]
    [TestCase(
        """{ "processes": [{ "name": "h", "role": "store", "port": 1 }, """ + """{ "name": "g", "role": "gateway", """ +
            """ "port": 0 }] }""",
        "ports 0 of g and 1 of h")]
    [TestCase("""{ "settings": { "rpc.port": 1 }, "processes": [""" + Gateway + "] }", "the cluster decides it itself")]
    [TestCase("""{ "settings": { "worker.threds": 1 }, "processes": [""" + Gateway + "] }", "mean worker.threads")]
    [TestCase("""{ "settings": { "worker.threads": -1 }, "processes": [""" + Gateway + "] }", "worker.threads: '-1'")]
    public void Read_BadFile_NamesFileAndField(string text, string expected)
    {
        var fault = Assert.Throws<SettingException>(() => Read(text));

        Assert.That(fault!.Message, Does.Contain(expected).And.Contain(_file));
    }

    [TestCase("single-node", 1)]
    [TestCase("1p1d", 3)]
    [TestCase("2p4d", 7)]
    public void Read_ConfigOfTheRepository_HasItsProcesses(string name, int processes) =>
        Assert.That(ClusterConfigReader.Read(ConfigFile(name)).Processes, Has.Count.EqualTo(processes));

    internal static string ConfigFile(string name)
    {
        for (var d = new DirectoryInfo(TestContext.CurrentContext.TestDirectory); d is not null; d = d.Parent)
        {
            var file = Path.Combine(d.FullName, "cluster-config", $"{name}.json");
            if (File.Exists(file))
            {
                return file;
            }
        }

        throw new FileNotFoundException($"no cluster-config/{name}.json above the test's folder");
    }

    private ClusterConfig Read(string text)
    {
        File.WriteAllText(_file, text);
        return ClusterConfigReader.Read(_file);
    }
}
