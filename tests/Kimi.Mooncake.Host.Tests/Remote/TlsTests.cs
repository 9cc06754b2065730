using System.Net.Security;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Health.V1;
using Kimi.Mooncake.Host.Serving;
using Kimi.Mooncake.Host.Tests.Commands;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using TemporaryFolder = Kimi.Mooncake.Tests.TemporaryFolder;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>Connections with certificates: who is let in, and what is said about files that are no good.</summary>
[TestFixture]
internal sealed class TlsTests
{
    private static readonly DateTimeOffset Yesterday = TimeProvider.System.GetUtcNow().AddDays(-1);

    private TemporaryFolder _folder = null!;
    private string _ours = "";
    private string _others = "";

    [OneTimeSetUp]
    public void MakeAuthorities()
    {
        _folder = new TemporaryFolder();
        _ours = Authority("ours", TimeSpan.FromDays(2));
        _others = Authority("others", TimeSpan.FromDays(2));
    }

    [OneTimeTearDown]
    public void DeleteAuthorities() => _folder.Dispose();

    [TestCase("node")]
    [TestCase("client")]
    public async Task Call_WithACertificateOfTheAuthority_IsAnswered(string role)
    {
        await using var server = await ServeAsync(Path.Combine(_ours, "node"));

        Assert.That(server.Address.Scheme, Is.EqualTo("https"));
        Assert.That(await CheckAsync(server.Address, Path.Combine(_ours, role)), Is.EqualTo("Serving"));
        var byName = new UriBuilder(server.Address) { Host = "localhost" }.Uri;
        Assert.That(await CheckAsync(byName, Path.Combine(_ours, role)), Is.EqualTo("Serving"));
    }

    [Test]
    public async Task Call_OfAnotherAuthority_IsRefusedByEachSide()
    {
        await using var server = await ServeAsync(Path.Combine(_ours, "node"));

        // Believes the server, but shows what the server does not believe.
        var unknown = Node("unknown", authorities: [_ours, _others], certificate: _others);
        Assert.That(await CheckAsync(server.Address, unknown), Does.StartWith("Unavailable"));
        Assert.That(
            await CheckAsync(server.Address, Path.Combine(_others, "node")),
            Does.StartWith("Internal").And.Contain("PartialChain"));
    }

    [Test]
    public async Task Call_ToAHostThatTheCertificateDoesNotName_IsRefused()
    {
        await using var server = await ServeAsync(Path.Combine(_ours, "node"), "127.0.0.2");

        Assert.That(
            await CheckAsync(server.Address, Path.Combine(_ours, "node")),
            Does.StartWith("Internal").And.Contain("RemoteCertificateNameMismatch"));
    }

    [Test]
    public async Task Server_OfAClientsCertificate_IsNotBelieved()
    {
        await using var server = await ServeAsync(Path.Combine(_ours, "client"));

        Assert.That(
            await CheckAsync(server.Address, Path.Combine(_ours, "node")),
            Does.StartWith("Internal").And.Contain("RemoteCertificateChainErrors"));
    }

    [Test]
    public async Task Connection_WithoutACertificate_IsClosedBeforeAnyCall()
    {
        await using var server = await ServeAsync(Path.Combine(_ours, "node"));
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var socket = new TcpClient();
        await socket.ConnectAsync(server.Address.Host, server.Address.Port, limit.Token);
        await using var stream = new SslStream(socket.GetStream());
        var trusting = new SslClientAuthenticationOptions
        {
            TargetHost = "localhost",
            ApplicationProtocols = [SslApplicationProtocol.Http2],
        };
#pragma warning disable CA5359 // It is the server that is on trial.
        trusting.RemoteCertificateValidationCallback = (_, _, _, _) => true;
#pragma warning restore CA5359

        // With TLS 1.3 a client has shaken hands before the server judges it: the judgement is what comes next.
        await Assert.CatchAsync<IOException>(async () =>
        {
            await stream.AuthenticateAsClientAsync(trusting, limit.Token);
            while (true)
            {
                await stream.WriteAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray(), limit.Token);
                if (await stream.ReadAsync(new byte[1], limit.Token) == 0)
                {
                    throw new IOException("closed");
                }
            }
        });
    }

    [Test]
    public void Files_ThatAreNoGood_AreNamedWithTheReason()
    {
        var expired = Authority("expired", TimeSpan.FromHours(1));
        Assert.That(Fault(Path.Combine(expired, "node")), Does.Contain("tls.crt").And.Contain("valid from"));
        Assert.That(
            Fault(Node("foreign", [_ours], _others)), Does.Contain("tls.crt").And.Contain("not accepted by ca.crt"));
        Assert.That(Fault(Path.Combine(_ours, "nowhere")), Does.Contain("ca.crt cannot be read"));

        var wrongKey = Node("wrong-key", [_ours], _ours);
        File.Copy(Path.Combine(_others, "node", "tls.key"), Path.Combine(wrongKey, "tls.key"), overwrite: true);
        Assert.That(Fault(wrongKey), Does.Contain("tls.key is not the private key of"));
        File.Delete(Path.Combine(wrongKey, "tls.key"));
        Assert.That(Fault(wrongKey), Does.Contain("tls.key cannot be read"));
        File.WriteAllText(Path.Combine(wrongKey, "tls.crt"), "no certificate");
        Assert.That(Fault(wrongKey), Does.Contain("tls.crt has no certificate in PEM"));
    }

    [Test]
    public void Address_OfTheOtherScheme_SaysWhatIsExpected()
    {
        var secured = new PeerOptions { Tls = Path.Combine(_ours, "node") };
        using var channels = new PeerChannels(secured, NullLoggerFactory.Instance);
        using var plain = new PeerChannels(new PeerOptions(), NullLoggerFactory.Instance);

        Assert.That(
            () => channels.Get("http://127.0.0.1:9"),
            Throws.ArgumentException.With.Message.Contains("https://127.0.0.1:9"));
        Assert.That(() => channels.Get("https://192.0.2.1:9"), Throws.Nothing);
        Assert.That(
            () => plain.Get("https://127.0.0.1:9"), Throws.ArgumentException.With.Message.Contains("peer.tls"));
    }

    [Test]
    public async Task TestAuthority_FromTheCommandLine_MakesWhatServeTakes()
    {
        var folder = _folder.File("command");

        var made = await CommandRun.OfAsync("test-authority", folder, "--host", "node.example", "--days", "2");
        var again = await CommandRun.OfAsync("test-authority", folder);

        Assert.That(made.Code, Is.Zero, made.Error);
        Assert.That(again.Error, Does.Contain("ca.crt"));
        await using var server = await ServeAsync(Path.Combine(folder, "node"));
        Assert.That(await CheckAsync(server.Address, Path.Combine(folder, "client")), Is.EqualTo("Serving"));
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(
                File.GetUnixFileMode(Path.Combine(folder, "node", "tls.key")),
                Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }
    }

    private static string Fault(string folder) => Assert.Throws<ArgumentException>(
        () => PeerCredentials.Load(new PeerOptions { Tls = folder }).Dispose())!.Message;

    private string Authority(string name, TimeSpan lifetime)
    {
        var folder = _folder.File(name);
        TestAuthority.Write(folder, [], Yesterday, lifetime);
        return folder;
    }

    /// <summary>The folder of a node that believes some authorities and shows the certificate of one.</summary>
    private string Node(string name, string[] authorities, string certificate)
    {
        var folder = Directory.CreateDirectory(_folder.File(name)).FullName;
        var believed = authorities.Select(authority => File.ReadAllText(Path.Combine(authority, "ca.crt")));
        File.WriteAllText(Path.Combine(folder, "ca.crt"), string.Concat(believed));
        File.Copy(Path.Combine(certificate, "node", "tls.crt"), Path.Combine(folder, "tls.crt"));
        File.Copy(Path.Combine(certificate, "node", "tls.key"), Path.Combine(folder, "tls.key"));
        return folder;
    }

    private static Task<RpcServer> ServeAsync(string folder, string address = "127.0.0.1") => RpcServer.StartAsync(
        new RpcOptions { Address = address, Port = 0, ShutdownSeconds = 0 }, new PeerOptions { Tls = folder }, [],
        () => true, NullLoggerFactory.Instance, TimeProvider.System, CancellationToken.None);

    /// <summary>The answer of the health service, or why there is none.</summary>
    private static async Task<string> CheckAsync(Uri address, string folder)
    {
        using var channels = new PeerChannels(
            new PeerOptions { Tls = folder, AttemptsMax = 1 }, NullLoggerFactory.Instance);
        var client = new Health.HealthClient(channels.Get(address.AbsoluteUri));
        try
        {
            var limit = TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(30);
            return (await client.CheckAsync(new HealthCheckRequest(), deadline: limit)).Status.ToString();
        }
        catch (RpcException fault)
        {
            return $"{fault.StatusCode}: {fault}";
        }
    }
}
