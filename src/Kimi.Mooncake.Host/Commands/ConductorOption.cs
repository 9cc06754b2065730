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

    public void AddTo(Command command) => command.Options.Add(_address);

    public string Read(ParseResult parsed) => parsed.GetValue(_address)!;

    /// <summary>Calls the conductor, and makes its errors into the command's.</summary>
    /// <exception cref="ServerException">It does not answer, or refuses.</exception>
    public static async Task<T> CallAsync<T>(
        string address, Func<Wire.Conductor.ConductorClient, Task<T>> call, CancellationToken cancellationToken)
    {
        using var channel = PeerChannel.Create(address, new PeerOptions(), NullLoggerFactory.Instance);
        try
        {
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
