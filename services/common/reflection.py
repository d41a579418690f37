"""Server reflection, by which clients without stubs learn what a server takes: in both versions of its protocol.

Newer clients ask for v1 alone, and the library serves v1alpha, which is the same on the wire. A client that loads all
that is listed fails at a service without a description, so that each has one. Source:
https://github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.common import open_inference
from services.common.moved_descriptors import moved

_METHOD: Final = "ServerReflectionInfo"
_V1_PACKAGE: Final = "grpc.reflection.v1"
SERVICES: Final = (f"{_V1_PACKAGE}.ServerReflection", reflection.SERVICE_NAME)


def pool_of(services: Iterable[str]) -> descriptor_pool.DescriptorPool:
    """What is said of services, of reflection itself, and of the details of errors.

    Raises:
        KeyError: nothing is known of one of the services.
    """
    known = descriptor_pool.Default()
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name not in added:
            added.add(file.name)
            for needed in file.dependencies:
                add(needed)
            pool.AddSerializedFile(file.serialized_pb)

    for service in services:
        if service == open_inference.SERVICE:
            pool.AddSerializedFile(open_inference.described().SerializeToString())
        else:
            add(known.FindFileContainingSymbol(service))
    add(error_details_pb2.DESCRIPTOR)
    add(reflection_pb2.DESCRIPTOR)
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    pool.AddSerializedFile(moved(alpha, _V1_PACKAGE, "grpc/reflection/v1/reflection.proto").SerializeToString())
    return pool


def handlers(services: Sequence[str]) -> tuple[grpc.GenericRpcHandler, ...]:
    """Handlers of reflection for a server.

    Args:
        services: full names of the other services that it has.

    Raises:
        KeyError: nothing is known of one of the services.
    """
    servicer: Any = reflection.aio.ReflectionServicer((*services, *SERVICES), pool_of(services))
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return tuple(grpc.method_handlers_generic_handler(service, {_METHOD: method}) for service in SERVICES)
