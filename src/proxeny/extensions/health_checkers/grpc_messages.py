"""The two messages of ``grpc.health.v1.Health/Check`` on the wire, in gRPC's framing.

``HealthCheckRequest { string service = 1 }`` and ``HealthCheckResponse { ServingStatus status = 1 }``, where SERVING is
1; xds-protos does not have them.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_FRAME_HEAD: Final = 5
SERVING: Final = 1


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="proxeny/grpc_health.proto", package="proxeny.grpc.health")
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, label=1, type=9)
    response = file.message_type.add(name="HealthCheckResponse")
    response.field.add(name="status", number=1, label=1, type=5)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"proxeny.grpc.health.HealthCheck{name}") for name in ("Request", "Response")]
    made = [message_factory.GetMessageClass(descriptor) for descriptor in found]
    return made[0], made[1]


_Request, _Response = _messages()


def encode_request(service: str) -> bytes:
    """One framed request."""
    message = _Request(service=service) if service else _Request()
    data: bytes = message.SerializeToString()
    return b"\x00" + len(data).to_bytes(4, "big") + data


def is_serving(body: bytes) -> bool:
    """Whether ``body`` is one framed response (empty ones aside) that says SERVING."""
    found = None
    while body:
        if len(body) < _FRAME_HEAD:
            return False
        size = int.from_bytes(body[1:_FRAME_HEAD], "big")
        frame, rest = body[_FRAME_HEAD : _FRAME_HEAD + size], body[_FRAME_HEAD + size :]
        if len(frame) < size:
            return False
        if size:
            if found is not None or body[0] != 0:
                return False
            found = _status(frame)
        body = rest
    return found == SERVING


def _status(frame: bytes) -> int:
    try:
        return int(_Response.FromString(frame).status)
    except DecodeError:
        return -1
