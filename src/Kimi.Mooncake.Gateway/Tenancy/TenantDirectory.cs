using System.Security.Cryptography;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Gateway.Tenancy;

/// <summary>
/// The tenants of a file, which is read again when it changes. A file that has become wrong changes nothing: what it
/// said before holds, and the log says what is wrong. One that cannot be read is tried again at every look. Any thread
/// may call.
/// </summary>
public sealed class TenantDirectory : IDisposable
{
    private readonly string _path;
    private readonly ILogger _logger;
    private readonly ITimer _timer;
    private readonly Lock _reloading = new();
    private (DateTime Written, long Bytes) _seen;
    private volatile TenantEntry[] _entries;
    private string _fault = "";

    /// <summary>Reads the file, and looks at it again and again.</summary>
    /// <param name="options">Which file, and how often; the file's name is not empty.</param>
    /// <param name="time">Clock.</param>
    /// <param name="logger">Is told of changes.</param>
    /// <exception cref="TenantsFileException">The file cannot be used.</exception>
    public TenantDirectory(TenantsOptions options, TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        _path = options.File;
        _logger = logger;
        _seen = Look();
        _entries = [.. TenantsFile.Read(_path)];
        var interval = TimeSpan.FromSeconds(options.ReloadSeconds);
        _timer = time.CreateTimer(static state => ((TenantDirectory)state!).Reload(), this, interval, interval);
    }

    /// <summary>Told, on any thread, when the file has changed.</summary>
    public event Action? Changed;

    /// <summary>The tenants as last read.</summary>
    public IReadOnlyList<TenantEntry> Entries => _entries;

    /// <inheritdoc />
    public void Dispose() => _timer.Dispose();

    /// <summary>
    /// The tenant of an API key; null where there is none. Every key is compared to its end, so that the time says
    /// nothing of how much of a guess was right.
    /// </summary>
    /// <param name="hash">SHA-256 of the key.</param>
    internal TenantEntry? FindByHash(ReadOnlySpan<byte> hash)
    {
        TenantEntry? found = null;
        foreach (var entry in _entries)
        {
            foreach (var known in entry.KeyHashes)
            {
                found = CryptographicOperations.FixedTimeEquals(known, hash) ? entry : found;
            }
        }

        return found;
    }

    /// <summary>Whether a tenant may choose a shared namespace.</summary>
    internal bool MayUse(string tenant, string name) =>
        Array.Find(_entries, entry => entry.Tenant == tenant)?.Namespaces.Contains(name) ?? false;

    private void Reload()
    {
        // Nobody waits for a timer: what it throws would end the process.
        lock (_reloading)
        {
            try
            {
                var now = Look();
                if (now == _seen)
                {
                    return;
                }

                Read(now);
            }
            catch (Exception fault) when (fault is TenantsFileException or IOException or UnauthorizedAccessException)
            {
                if (fault.Message != _fault)
                {
                    GatewayLog.TenantsKept(_logger, fault.Message);
                }

                _fault = fault.Message;
                return;
            }

            _fault = "";
            GatewayLog.TenantsRead(_logger, _path, _entries.Length);
        }

        try
        {
            Changed?.Invoke();
        }
        catch (Exception fault)
        {
            GatewayLog.TenantsNotTaken(_logger, _path, fault);
        }
    }

    /// <summary>Reads the file. What could not be read is as if it had not been seen: the next look finds it.</summary>
    private void Read((DateTime Written, long Bytes) now)
    {
        try
        {
            _entries = [.. TenantsFile.Read(_path)];
            _seen = now;
        }
        catch (TenantsFileException fault)
            when (fault.InnerException is not IOException and not UnauthorizedAccessException)
        {
            _seen = now;
            throw;
        }
    }

    /// <summary>What tells one state of the file from the next; a file that is gone has bytes of -1.</summary>
    private (DateTime Written, long Bytes) Look()
    {
        var file = new FileInfo(_path);
        return file.Exists ? (file.LastWriteTimeUtc, file.Length) : (default, -1);
    }
}
