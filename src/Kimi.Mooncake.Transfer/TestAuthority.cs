using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// An authority for trying TLS out: it signs one certificate for the nodes of a cluster and one for clients. Its key
/// lies beside its certificate, so whoever can read the folder can join.
/// </summary>
public static class TestAuthority
{
    private const int SerialNumberBytes = 16;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>
    /// Writes <c>ca.crt</c> and <c>ca.key</c>, and the folders <c>node</c> and <c>client</c> as
    /// <see cref="PeerOptions.Tls"/> wants them. A node may serve and call, a client may only call.
    /// </summary>
    /// <param name="folder">Where; made if it is not there. Files that are there are not replaced.</param>
    /// <param name="hosts">Names and IP addresses of the nodes, besides those of this machine's loopback.</param>
    /// <param name="from">From when the certificates count.</param>
    /// <param name="lifetime">For how long.</param>
    /// <exception cref="IOException">A file cannot be written, or is there already.</exception>
    public static void Write(string folder, IReadOnlyCollection<string> hosts, DateTimeOffset from, TimeSpan lifetime)
    {
        ArgumentNullException.ThrowIfNull(hosts);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Mooncake test authority", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var authority = request.CreateSelfSigned(from, from + lifetime);
        Directory.CreateDirectory(folder);
        WritePair(folder, "ca", authority, key);
        WriteSigned(
            Path.Combine(folder, "node"), authority, [PeerCredentials.ServerUse, PeerCredentials.ClientUse],
            ["localhost", "127.0.0.1", "::1", .. hosts]);
        WriteSigned(Path.Combine(folder, "client"), authority, [PeerCredentials.ClientUse], []);
    }

    private static void WriteSigned(
        string folder, X509Certificate2 authority, IEnumerable<string> uses, IReadOnlyCollection<string> hosts)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var name = Path.GetFileName(folder);
        var request = new CertificateRequest($"CN=Mooncake test {name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(
            new X509EnhancedKeyUsageExtension([.. uses.Select(use => new Oid(use))], false));
        request.CertificateExtensions.Add(
            X509AuthorityKeyIdentifierExtension.CreateFromCertificate(authority, true, false));
        if (hosts.Count > 0)
        {
            request.CertificateExtensions.Add(NamesOf(hosts));
        }

        using var certificate = request.Create(
            authority, authority.NotBefore, authority.NotAfter, RandomNumberGenerator.GetBytes(SerialNumberBytes));
        Directory.CreateDirectory(folder);
        WritePair(folder, "tls", certificate, key);
        WriteText(Path.Combine(folder, PeerCredentials.AuthorityFile), authority.ExportCertificatePem());
    }

    private static X509Extension NamesOf(IEnumerable<string> hosts)
    {
        var names = new SubjectAlternativeNameBuilder();
        foreach (var host in hosts.Distinct())
        {
            if (IPAddress.TryParse(host, out var address))
            {
                names.AddIpAddress(address);
            }
            else
            {
                names.AddDnsName(host);
            }
        }

        return names.Build();
    }

    private static void WritePair(string folder, string name, X509Certificate2 certificate, ECDsa key)
    {
        WriteText(Path.Combine(folder, $"{name}.crt"), certificate.ExportCertificatePem());
        WriteText(Path.Combine(folder, $"{name}.key"), key.ExportPkcs8PrivateKeyPem(), OwnerOnly);
    }

    private static void WriteText(string path, string text, UnixFileMode? mode = null)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = mode;
        }

        using var writer = new StreamWriter(path, options);
        writer.WriteLine(text);
    }
}
