using System.CommandLine;
using Grpc.Core;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>The option <c>--conductor</c> of commands that ask a running conductor, and the calls to it.</summary>
internal sealed class ConductorOption
{
    private const string AddressDefault = "http://127.0.0.1:9090";

    private readonly Option<string> _address = new("--conductor")
    {
        Description = $"gRPC address of the conductor, which is the gateway's where no other is named; " +
            $"{AddressDefault} when missing.",
        HelpName = "URL",
        DefaultValueFactory = _ => AddressDefault,
    };

    private readonly Option<string?> _tls = new("--tls")
    {
        Description = "Folder with ca.crt, tls.crt and tls.key, where the cluster uses TLS.",
        HelpName = "FOLDER",
    };

    private readonly Option<bool> _insecure = new("--insecure")
    {
        Description = "Allows a connection without encryption to another machine.",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_address);
        command.Options.Add(_tls);
        command.Options.Add(_insecure);
    }

    /// <summary>Calls the conductor that was named, and makes its errors into the command's.</summary>
    /// <exception cref="ServerException">It does not answer, or refuses.</exception>
    public Task<T> CallAsync<T>(
        ParseResult parsed, Func<Wire.Conductor.ConductorClient, Task<T>> call, CancellationToken cancellationToken) =>
        CallAsync(
            parsed.GetValue(_address)!,
            new PeerOptions { Tls = parsed.GetValue(_tls) ?? "", Insecure = parsed.GetValue(_insecure) },
            call, cancellationToken);

    /// <summary>Calls a conductor, and makes its errors into the command's.</summary>
    /// <exception cref="ServerException">It does not answer, or refuses.</exception>
    public static async Task<T> CallAsync<T>(
        string address, PeerOptions peer, Func<Wire.Conductor.ConductorClient, Task<T>> call,
        CancellationToken cancellationToken)
    {
        try
        {
            using var channel = PeerChannel.Create(address, peer, NullLoggerFactory.Instance);
            return await call(new Wire.Conductor.ConductorClient(channel.Invoker)).ConfigureAwait(false);
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault)
        {
            throw new ServerException($"conductor {address}: {fault.StatusCode}, {fault.Status.Detail}");
        }
        catch (ArgumentException fault)
        {
            throw new SettingException(fault.Message);
        }
    }
}
