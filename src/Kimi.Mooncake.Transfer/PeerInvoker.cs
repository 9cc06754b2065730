using Grpc.Core;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// Makes calls to one address. Each call holds the channel until it has ended: a streaming call until it is disposed.
/// </summary>
internal sealed class PeerInvoker(PeerChannels channels, string address, int connection) : CallInvoker
{
    public override TResponse BlockingUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var use = channels.Take(address, connection);
        try
        {
            return use.Invoker.BlockingUnaryCall(method, host, options, request);
        }
        finally
        {
            use.End();
        }
    }

    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var call = Start(
            (method, host, options, request),
            static (invoker, of) => invoker.AsyncUnaryCall(of.method, of.host, of.options, of.request), out var use);
        call.ResponseAsync.ContinueWith(
            static (_, use) => ((PeerChannels.Use)use!).End(), use, CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        return call;
    }

    public override AsyncServerStreamingCall<TResponse> AsyncServerStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options, TRequest request)
    {
        var call = Start(
            (method, host, options, request),
            static (invoker, of) => invoker.AsyncServerStreamingCall(of.method, of.host, of.options, of.request),
            out var use);
        return new AsyncServerStreamingCall<TResponse>(
            call.ResponseStream, _ => call.ResponseHeadersAsync, _ => call.GetStatus(), _ => call.GetTrailers(),
            _ => End(call, use), call);
    }

    public override AsyncClientStreamingCall<TRequest, TResponse> AsyncClientStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        var call = Start(
            (method, host, options),
            static (invoker, of) => invoker.AsyncClientStreamingCall(of.method, of.host, of.options), out var use);
        return new AsyncClientStreamingCall<TRequest, TResponse>(
            call.RequestStream, call.ResponseAsync, _ => call.ResponseHeadersAsync, _ => call.GetStatus(),
            _ => call.GetTrailers(), _ => End(call, use), call);
    }

    public override AsyncDuplexStreamingCall<TRequest, TResponse> AsyncDuplexStreamingCall<TRequest, TResponse>(
        Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        var call = Start(
            (method, host, options),
            static (invoker, of) => invoker.AsyncDuplexStreamingCall(of.method, of.host, of.options), out var use);
        return new AsyncDuplexStreamingCall<TRequest, TResponse>(
            call.RequestStream, call.ResponseStream, _ => call.ResponseHeadersAsync, _ => call.GetStatus(),
            _ => call.GetTrailers(), _ => End(call, use), call);
    }

    private TCall Start<TCall, TOf>(TOf of, Func<CallInvoker, TOf, TCall> start, out PeerChannels.Use use)
    {
        use = channels.Take(address, connection);
        try
        {
            return start(use.Invoker, of);
        }
        catch
        {
            use.End();
            throw;
        }
    }

    private static void End(IDisposable call, PeerChannels.Use use)
    {
        call.Dispose();
        use.End();
    }
}
