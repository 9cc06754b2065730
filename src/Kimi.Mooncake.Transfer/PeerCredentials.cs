using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// What a process proves itself with, and whom it believes: its certificate and key, and the one authority whose
/// certificates count. Owns them.
/// </summary>
public sealed class PeerCredentials : IDisposable
{
    internal const string AuthorityFile = "ca.crt";

    // Extended key usages (RFC 5280, 4.2.1.12).
    internal const string ServerUse = "1.3.6.1.5.5.7.3.1";
    internal const string ClientUse = "1.3.6.1.5.5.7.3.2";

    private const string CertificateFile = "tls.crt";
    private const string KeyFile = "tls.key";

    private readonly X509Certificate2Collection _authority;
    private readonly X509Certificate2? _own;
    private readonly X509Certificate2Collection _chain;

    private PeerCredentials(
        X509Certificate2Collection authority, X509Certificate2? own, X509Certificate2Collection chain)
    {
        _authority = authority;
        _own = own;
        _chain = chain;
        if (own is null)
        {
            return;
        }

        var context = SslStreamCertificateContext.Create(own, chain, offline: true);
        Client = new SslClientAuthenticationOptions
        {
            ClientCertificateContext = context,
            CertificateChainPolicy = Policy(ServerUse),
        };
        Server = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = context,
            ClientCertificateRequired = true,
            CertificateChainPolicy = Policy(ClientUse),
            ApplicationProtocols = [SslApplicationProtocol.Http2],
        };
    }

    /// <summary>How a client shakes hands; null without TLS.</summary>
    public SslClientAuthenticationOptions? Client { get; }

    /// <summary>How a server shakes hands; it refuses clients without a certificate. Null without TLS.</summary>
    public SslServerAuthenticationOptions? Server { get; }

    /// <summary>Reads the files of <see cref="PeerOptions.Tls"/>; without TLS there is nothing to read.</summary>
    /// <param name="options">Names the folder.</param>
    /// <exception cref="ArgumentException">
    /// A file is missing or damaged, has expired, or does not belong to the others; the message names it.
    /// </exception>
    public static PeerCredentials Load(PeerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Tls.Length == 0)
        {
            return new PeerCredentials([], null, []);
        }

        var authority = ReadCertificates(Path.Combine(options.Tls, AuthorityFile));
        var chain = ReadCertificates(Path.Combine(options.Tls, CertificateFile));
        var own = ReadPair(Path.Combine(options.Tls, CertificateFile), Path.Combine(options.Tls, KeyFile));
        chain.RemoveAt(0);
        var credentials = new PeerCredentials(authority, own, chain);
        try
        {
            credentials.RequireTrusted(Path.Combine(options.Tls, CertificateFile));
            return credentials;
        }
        catch
        {
            credentials.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _own?.Dispose();
        foreach (var certificate in _authority.Concat(_chain))
        {
            certificate.Dispose();
        }
    }

    private static X509Certificate2Collection ReadCertificates(string path)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(ReadText(path));
        }
        catch (CryptographicException fault)
        {
            throw Fault(path, $"cannot be read: {fault.Message}");
        }

        return certificates.Count > 0 ? certificates : throw Fault(path, "has no certificate in PEM");
    }

    private static X509Certificate2 ReadPair(string certificatePath, string keyPath)
    {
        var (certificate, key) = (ReadText(certificatePath), ReadText(keyPath));
        try
        {
            return X509Certificate2.CreateFromPem(certificate, key);
        }
        catch (Exception fault) when (fault is CryptographicException or ArgumentException)
        {
            throw Fault(keyPath, $"is not the private key of {certificatePath} in PEM: {fault.Message}");
        }
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw Fault(path, $"cannot be read: {fault.Message}");
        }
    }

    private static ArgumentException Fault(string path, string what) => new($"peer.tls: {path} {what}");

    private X509ChainPolicy Policy(string use)
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.ApplicationPolicy.Add(new Oid(use));
        policy.CustomTrustStore.AddRange(_authority);
        policy.ExtraStore.AddRange(_chain);
        return policy;
    }

    private void RequireTrusted(string path)
    {
        using var chain = new X509Chain { ChainPolicy = Policy(ClientUse) };
        if (!chain.Build(_own!))
        {
            var reasons = chain.ChainStatus.Select(status => status.StatusInformation.Trim()).Distinct();
            throw Fault(
                path, $"(valid from {_own!.NotBefore:u} to {_own.NotAfter:u}, issued by {_own.Issuer}) is not " +
                $"accepted by {AuthorityFile} beside it: {string.Join("; ", reasons)}");
        }
    }
}
