using System.CommandLine;
using Grpc.Core;
using Kimi.Mooncake.Host.Client;
using Kimi.Mooncake.Host.Configuration;
using Kimi.Mooncake.Transfer;
using Microsoft.Extensions.Logging.Abstractions;
using Wire = Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Host.Commands;

/// <summary>A conductor, and how it is spoken to.</summary>
internal sealed record ConductorTarget(string Address, PeerOptions Peer);

/// <summary>
/// The option <c>--conductor</c>, and those of its connection, of commands that ask a running conductor, and the calls
/// to it.
/// </summary>
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
        Description = "Folder with ca.crt, tls.crt and tls.key, for a conductor that wants certificates.",
        HelpName = "FOLDER",
    };

    private readonly Option<bool> _insecure = new("--insecure")
    {
        Description = "Asks a conductor on another machine without encryption.",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_address);
        command.Options.Add(_tls);
        command.Options.Add(_insecure);
    }

    public ConductorTarget Read(ParseResult parsed) => new(
        parsed.GetValue(_address)!,
        new PeerOptions { Tls = parsed.GetValue(_tls) ?? "", Insecure = parsed.GetValue(_insecure) });

    /// <summary>Calls the conductor, and makes its errors into the command's.</summary>
    /// <exception cref="ServerException">It does not answer, or refuses.</exception>
    public static async Task<T> CallAsync<T>(
        ConductorTarget target, Func<Wire.Conductor.ConductorClient, Task<T>> call,
        CancellationToken cancellationToken)
    {
        try
        {
            using var channel = PeerChannel.Create(target.Address, target.Peer, NullLoggerFactory.Instance);
            return await call(new Wire.Conductor.ConductorClient(channel.Invoker)).ConfigureAwait(false);
        }
        catch (RpcException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (RpcException fault)
        {
            throw new ServerException($"conductor {target.Address}: {fault.StatusCode}, {fault.Status.Detail}");
        }
        catch (ArgumentException fault)
        {
            throw new SettingException(
                fault.Message.Replace($" (Parameter '{fault.ParamName}')", "", StringComparison.Ordinal));
        }
    }
}
