using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Contract = Google.Protobuf.Reflection.ServiceDescriptor;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>A gRPC service of one of the process's roles: one object that answers all calls.</summary>
internal sealed class RpcService
{
    private readonly Action<IServiceCollection> _add;
    private readonly Action<IEndpointRouteBuilder> _map;

    private RpcService(
        Contract contract, Action<IServiceCollection> add, Action<IEndpointRouteBuilder> map)
    {
        Contract = contract;
        _add = add;
        _map = map;
    }

    /// <summary>The contract, as it is told to clients that ask.</summary>
    public Contract Contract { get; }

    /// <summary>Makes a service of an object whose class binds the contract's methods.</summary>
    public static RpcService Of<T>(T service, Contract contract)
        where T : class =>
        new(contract, services => services.AddSingleton(service), routes => routes.MapGrpcService<T>());

    public void AddTo(IServiceCollection services) => _add(services);

    public void MapTo(IEndpointRouteBuilder routes) => _map(routes);
}
