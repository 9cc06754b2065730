using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Kimi.Mooncake.Gateway.Tenancy;
using Kimi.Mooncake.Host.Output;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake tenant</c>: API keys for the tenants file, and whether the file is right.</summary>
internal static class TenantCommand
{
    private const int KeyBytes = 32;
    private const string KeyPrefix = "mc-";

    public static Command Create(Terminal terminal) => new("tenant", "Makes API keys and checks the tenants file.")
    {
        CreateKey(terminal),
        CreateHash(terminal),
        CreateCheck(terminal),
    };

    private static Command CreateKey(Terminal terminal)
    {
        var json = JsonOption.Create();
        var command = new Command("key", "Makes a new API key, and prints it and its hash for the tenants file.")
        {
            json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, _) =>
        {
            var key = KeyPrefix + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(KeyBytes));
            Write(terminal, parsed.GetValue(json), new TenantKey(key, HashOf(key)));
            return Task.CompletedTask;
        });
        return command;
    }

    private static Command CreateHash(Terminal terminal)
    {
        var json = JsonOption.Create();
        var command = new Command(
            "hash", "Reads an API key from standard input, which no list of processes shows, and prints its hash.")
        {
            json,
        };
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var key = (await terminal.Input.ReadLineAsync(cancellationToken).ConfigureAwait(false))?.Trim();
            if (string.IsNullOrEmpty(key))
            {
                throw new CommandException("standard input has no API key; expected one on its first line");
            }

            Write(terminal, parsed.GetValue(json), new TenantKey(ApiKey: null, HashOf(key)));
        });
        return command;
    }

    private static Command CreateCheck(Terminal terminal)
    {
        var file = new Argument<FileInfo>("FILE") { Description = "A tenants file." };
        var json = JsonOption.Create();
        var command = new Command("check", "Reads a tenants file as a server would, and says what is in it.")
        {
            file, json,
        };
        MooncakeCommand.SetAction(command, terminal, (parsed, _) =>
        {
            try
            {
                var tenants = TenantsFile.Read(parsed.GetValue(file)!.FullName).Select(entry => new CheckedTenant(
                    entry.Tenant, entry.KeyHashes.Count, [.. entry.Namespaces.Order()], entry.StoreQuotaBytes ?? 0));
                Write(terminal, parsed.GetValue(json), [.. tenants]);
            }
            catch (TenantsFileException fault)
            {
                throw new CommandException(fault.Message);
            }

            return Task.CompletedTask;
        });
        return command;
    }

    private static void Write(Terminal terminal, bool asJson, IReadOnlyList<CheckedTenant> tenants)
    {
        if (asJson)
        {
            terminal.WriteJson(new { tenants });
            return;
        }

        foreach (var tenant in tenants)
        {
            var namespaces = tenant.Namespaces.Count == 0 ? "none" : string.Join(", ", tenant.Namespaces);
            var quota = tenant.StoreQuotaBytes > 0
                ? string.Create(CultureInfo.InvariantCulture, $"{tenant.StoreQuotaBytes} bytes")
                : "a fair share";
            terminal.Output.WriteLine(
                $"{tenant.Tenant}: {tenant.ApiKeys} keys, shared namespaces {namespaces}, of each store {quota}");
        }
    }

    private static string HashOf(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    private static void Write(Terminal terminal, bool asJson, TenantKey made)
    {
        if (asJson)
        {
            terminal.WriteJson(made);
            return;
        }

        if (made.ApiKey is not null)
        {
            terminal.Output.WriteLine($"api_key         {made.ApiKey}");
        }

        terminal.Output.WriteLine($"api_key_sha256  {made.ApiKeySha256}");
    }

    private sealed record CheckedTenant(
        string Tenant, int ApiKeys, IReadOnlyList<string> Namespaces, long StoreQuotaBytes);

    /// <param name="ApiKey">The key; null where the caller has it.</param>
    /// <param name="ApiKeySha256">Its SHA-256, in hexadecimal digits.</param>
    private sealed record TenantKey(string? ApiKey, string ApiKeySha256);
}
