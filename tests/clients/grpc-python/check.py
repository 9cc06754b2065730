"""Calls unary, server-streaming and bidirectional methods with the gRPC client for Python.

The contracts come from the server's reflection service, so no generated code is needed.
Usage: check.py HOST:PORT EXPECTED_TEXT [TLS_FOLDER]; packages: grpcio, protobuf.
"""

import pathlib
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SECONDS = 20
FILE_CONTAINING_SYMBOL, LIST_SERVICES = 4, 7
FILE_DESCRIPTORS, SERVICES, ERROR = 4, 6, 7


def question(field, text):
    data = text.encode()
    assert len(data) < 128
    return bytes([field << 3 | 2, len(data)]) + data


def fields(data):
    """The fields of an encoded message: number and value, which is bytes or a number."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            assert tag & 7 == 2, tag
            length = varint()
            yield tag >> 3, data[position:position + length]
            position += length


def one(data, number):
    return next((value for field, value in fields(data) if field == number), None)


def reflect(channel, questions, version='v1', **options):
    method = channel.stream_stream(f'/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo')
    return method(iter(questions), **options)


def contracts(channel):
    """Asks what is served, and builds the message classes of it."""
    answers = list(reflect(channel, [question(LIST_SERVICES, '')], timeout=SECONDS))
    names = [one(service, 1).decode() for _, service in fields(one(answers[0], SERVICES))]
    assert 'kimi.mooncake.v1.Generation' in names and 'grpc.health.v1.Health' in names, names
    older = list(reflect(channel, [question(LIST_SERVICES, '')], version='v1alpha', timeout=SECONDS))
    assert one(older[0], SERVICES) == one(answers[0], SERVICES)

    questions = [question(FILE_CONTAINING_SYMBOL, name) for name in names]
    files = {}
    for answer in reflect(channel, questions, timeout=SECONDS):
        for _, data in fields(one(answer, FILE_DESCRIPTORS)):
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            files[file.name] = file
    unknown = list(reflect(channel, [question(FILE_CONTAINING_SYMBOL, 'no.such.Symbol')], timeout=SECONDS))
    assert one(one(unknown[0], ERROR), 1) == grpc.StatusCode.NOT_FOUND.value[0]

    pool = descriptor_pool.DescriptorPool()

    def add(name):
        file = files.pop(name, None)
        if file is not None:
            for imported in file.dependency:
                add(imported)
            pool.Add(file)

    for name in list(files):
        add(name)
    return pool


def message_class(pool, name):
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, 'GetMessageClass'):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


class Service:
    """The methods of a service, by their names."""

    def __init__(self, channel, pool, name):
        for method in pool.FindServiceByName(name).methods:
            kind = 'unary_stream' if method.name in ('Generate', 'Watch') else 'unary_unary'
            request = message_class(pool, method.input_type.full_name)
            response = message_class(pool, method.output_type.full_name)
            call = getattr(channel, kind)(
                f'/{name}/{method.name}', request_serializer=request.SerializeToString,
                response_deserializer=response.FromString)
            setattr(self, method.name, lambda fields=None, call=call, request=request, **options:
                    call(request(**(fields or {})), **options))


def code_of(call):
    try:
        result = call()
        for _ in result:
            pass
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def check(channel, expected_text):
    pool = contracts(channel)
    health = Service(channel, pool, 'grpc.health.v1.Health')
    worker = Service(channel, pool, 'kimi.mooncake.v1.Generation')

    assert health.Check(timeout=SECONDS).status == 1
    assert code_of(lambda: health.Check({'service': 'other'}, timeout=SECONDS)) == grpc.StatusCode.NOT_FOUND
    watching = health.Watch(timeout=SECONDS)
    assert next(watching).status == 1
    watching.cancel()
    assert code_of(lambda: watching) == grpc.StatusCode.CANCELLED
    assert len(worker.Describe(timeout=SECONDS).fingerprint) == 64

    request = {'request_id': 'python', 'prompt_tokens': [104, 105], 'max_new_tokens': 100, 'stop_tokens': [258]}
    events = list(worker.Generate(request, timeout=SECONDS))
    tokens = [event.token_generated.token_id for event in events if event.WhichOneof('event') == 'token_generated']
    assert bytes(tokens).decode() == expected_text, tokens
    assert code_of(lambda: worker.Generate({**request, 'prompt_tokens': []}, timeout=SECONDS)) \
        == grpc.StatusCode.INVALID_ARGUMENT

    # The prompt [0] is answered without end.
    endless = {**request, 'prompt_tokens': [0]}
    call = worker.Generate(endless, timeout=SECONDS)
    next(call)
    call.cancel()
    assert code_of(lambda: call) == grpc.StatusCode.CANCELLED
    assert code_of(lambda: worker.Generate(endless, timeout=0.3)) == grpc.StatusCode.DEADLINE_EXCEEDED


def open_channel(address, folder):
    if folder is None:
        return grpc.insecure_channel(address)
    files = [pathlib.Path(folder, name).read_bytes() for name in ('ca.crt', 'tls.key', 'tls.crt')]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(*files))


if __name__ == '__main__':
    target, text, *rest = sys.argv[1:]
    with open_channel(target, rest[0] if rest else None) as opened:
        check(opened, text)
    print('ok')
