using Google.Protobuf;
using Grpc.Core;
using Kimi.Mooncake.Protocol.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>
/// The gRPC service <c>kimi.mooncake.v1.Transfer</c> as a server binds it, in place of the generated base class: its
/// messages are read and written by code of this project.
/// </summary>
[BindServiceMethod(typeof(TransferServiceBase), nameof(BindService))]
public abstract class TransferServiceBase
{
    internal const string ServiceName = "kimi.mooncake.v1.Transfer";

    private static readonly Method<HelloRequest, HelloResponse> HelloMethod = new(
        MethodType.Unary, ServiceName, nameof(Hello), MarshallerOf(HelloRequest.Parser),
        MarshallerOf(HelloResponse.Parser));

    private static readonly Method<IncomingFrame, FrameReplyMessage> FramesMethod = new(
        MethodType.DuplexStreaming, ServiceName, nameof(Frames), IncomingFrame.Marshaller,
        FrameReplyMessage.ServerMarshaller);

    private protected TransferServiceBase()
    {
    }

    /// <summary>Names the methods to a server.</summary>
    /// <param name="binder">Takes the methods.</param>
    /// <param name="service">What carries them out; null when the server makes that itself.</param>
    public static void BindService(ServiceBinderBase binder, TransferServiceBase? service)
    {
        ArgumentNullException.ThrowIfNull(binder);
        binder.AddMethod(HelloMethod, service is null ? null : service.Hello);
        binder.AddMethod(FramesMethod, service is null ? null : service.Frames);
    }

    /// <summary>What a sender needs to know before the first frame.</summary>
    public abstract Task<HelloResponse> Hello(HelloRequest request, ServerCallContext context);

    /// <summary>Takes frames, and answers each in its order.</summary>
    public abstract Task Frames(
        IAsyncStreamReader<IncomingFrame> requestStream, IServerStreamWriter<FrameReplyMessage> responseStream,
        ServerCallContext context);

    private static Marshaller<T> MarshallerOf<T>(MessageParser<T> parser)
        where T : IMessage<T> => new(message => message.ToByteArray(), parser.ParseFrom);
}
