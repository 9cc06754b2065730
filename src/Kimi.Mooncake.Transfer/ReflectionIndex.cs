using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;

namespace Kimi.Mooncake.Transfer;

/// <summary>The files, symbols and services that a server tells its clients about.</summary>
internal sealed class ReflectionIndex
{
    private readonly Dictionary<string, FileDescriptor> _files = [];
    private readonly Dictionary<string, FileDescriptor> _symbols = [];
    private readonly HashSet<string> _messages = [];
    private readonly string[] _services;

    public ReflectionIndex(IReadOnlyCollection<ServiceDescriptor> services)
    {
        _services = [.. services.Select(service => service.FullName).Order(StringComparer.Ordinal)];
        foreach (var service in services)
        {
            Add(service.File);
        }
    }

    /// <summary>The answer to one request.</summary>
    /// <param name="request">What is asked for.</param>
    /// <param name="sent">Names of the files that the stream was sent; grows.</param>
    public ServerReflectionResponse Answer(ServerReflectionRequest request, HashSet<string> sent)
    {
        var response = new ServerReflectionResponse { ValidHost = request.Host, OriginalRequest = request };
        switch (request.MessageRequestCase)
        {
            case ServerReflectionRequest.MessageRequestOneofCase.FileByFilename:
                AddFiles(response, _files, "file", request.FileByFilename, sent);
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingSymbol:
                AddFiles(response, _symbols, "symbol", request.FileContainingSymbol, sent);
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.FileContainingExtension:
                var extension = request.FileContainingExtension;
                response.ErrorResponse = Error(
                    StatusCode.NotFound,
                    $"no extension {extension.ExtensionNumber} of '{extension.ContainingType}' is known here");
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.AllExtensionNumbersOfType:
                AddExtensions(response, request.AllExtensionNumbersOfType);
                break;
            case ServerReflectionRequest.MessageRequestOneofCase.ListServices:
                response.ListServicesResponse = new ListServiceResponse();
                response.ListServicesResponse.Service.AddRange(
                    _services.Select(name => new ServiceResponse { Name = name }));
                break;
            default:
                response.ErrorResponse = Error(StatusCode.InvalidArgument, "the request asks for nothing");
                break;
        }

        return response;
    }

    private void Add(FileDescriptor file)
    {
        if (!_files.TryAdd(file.Name, file))
        {
            return;
        }

        foreach (var message in file.MessageTypes)
        {
            Add(message);
        }

        foreach (var declared in file.EnumTypes.Concat<IDescriptor>(file.Services)
            .Concat(file.Services.SelectMany(service => service.Methods)))
        {
            _symbols[declared.FullName] = file;
        }

        foreach (var imported in file.Dependencies)
        {
            Add(imported);
        }
    }

    private void Add(MessageDescriptor message)
    {
        _messages.Add(message.FullName);
        _symbols[message.FullName] = message.File;
        foreach (var declared in message.EnumTypes)
        {
            _symbols[declared.FullName] = message.File;
        }

        foreach (var nested in message.NestedTypes)
        {
            Add(nested);
        }
    }

    private static void AddFiles(
        ServerReflectionResponse response, Dictionary<string, FileDescriptor> known, string kind, string name,
        HashSet<string> sent)
    {
        if (!known.TryGetValue(name, out var file))
        {
            response.ErrorResponse = Error(StatusCode.NotFound, $"no {kind} '{name}' is known here");
            return;
        }

        response.FileDescriptorResponse = new FileDescriptorResponse();
        var files = response.FileDescriptorResponse.FileDescriptorProto;
        files.Add(file.SerializedData);
        sent.Add(file.Name);
        AddImports(file, files, sent);
    }

    private static void AddImports(FileDescriptor file, ICollection<ByteString> files, HashSet<string> sent)
    {
        foreach (var imported in file.Dependencies.Where(imported => sent.Add(imported.Name)))
        {
            files.Add(imported.SerializedData);
            AddImports(imported, files, sent);
        }
    }

    private void AddExtensions(ServerReflectionResponse response, string type)
    {
        if (_messages.Contains(type))
        {
            // No contract extends another one: the list is empty.
            response.AllExtensionNumbersResponse = new ExtensionNumberResponse { BaseTypeName = type };
        }
        else
        {
            response.ErrorResponse = Error(StatusCode.NotFound, $"no message type '{type}' is known here");
        }
    }

    private static ErrorResponse Error(StatusCode code, string message) =>
        new() { ErrorCode = (int)code, ErrorMessage = message };
}
