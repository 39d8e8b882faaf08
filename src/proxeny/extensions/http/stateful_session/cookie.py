"""``envoy.http.stateful_session.cookie``: the host in a cookie, which holds a serialized ``envoy.Cookie``."""

from __future__ import annotations

from base64 import b64encode
from time import time
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from proxeny.config.errors import ConfigError
from proxeny.extensions.http.stateful_session import base64
from proxeny.http.cookies import cookie_value, make_set_cookie

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

AFTER_PATH = b"/?#"
"""What may follow a cookie's path in the path of a request."""


def _cookie_message() -> Any:
    """``envoy.Cookie``: Envoy's API does not publish it."""
    file = FileDescriptorProto(name="source/extensions/http/stateful_session/cookie/cookie.proto", syntax="proto3")
    file.package = "envoy"
    message = file.message_type.add(name="Cookie")
    for number, (name, kind) in enumerate(
        (("address", FieldDescriptorProto.TYPE_STRING), ("expires", FieldDescriptorProto.TYPE_UINT64)), start=1
    ):
        message.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("envoy.Cookie"))


COOKIE = _cookie_message()


class CookieSessionState:
    """See SessionState."""

    __slots__ = ("_states", "address")

    def __init__(self, states: CookieSessionStates, address: str) -> None:
        self._states = states
        self.address = address

    def on_update(self, address: str, headers: HeaderMap) -> bool:
        """Another cookie is set."""
        if address == self.address:
            return False
        headers.add(b"set-cookie", self._states.set_cookie(address))
        return True


class CookieSessionStates:
    """See SessionStates; ``now``: seconds since 1970."""

    __slots__ = ("_attributes", "_name", "_now", "_path", "_ttl")

    def __init__(self, config: Any, now: Callable[[], float] = time) -> None:
        cookie = config.cookie
        if not cookie.name:
            raise ConfigError("Cookie key cannot be empty for cookie based stateful sessions")
        self._name: bytes = cookie.name.encode("utf-8")
        self._path: bytes = cookie.path.encode("utf-8")
        self._ttl: int = cookie.ttl.seconds
        self._attributes = tuple([(one.name.encode("utf-8"), one.value.encode("utf-8")) for one in cookie.attributes])
        self._now = now

    def create(self, headers: HeaderMap) -> CookieSessionState | None:
        """Only below the cookie's path."""
        if not self._is_for(headers.get(b":path") or b""):
            return None
        return CookieSessionState(self, self._address(cookie_value(headers, self._name)))

    def _is_for(self, path: bytes) -> bool:
        own = self._path
        if own in (b"", b"/"):
            return True
        if not path.startswith(own):
            return False
        return own.endswith(b"/") or len(path) == len(own) or path[len(own)] in AFTER_PATH

    def _address(self, value: bytes) -> str:
        decoded = base64.decode(value)
        cookie = COOKIE()
        try:
            cookie.ParseFromString(decoded)
        except DecodeError:
            # Cookies of Envoys before 1.25 hold the address alone.
            return decoded.decode("utf-8", "surrogateescape")
        if cookie.expires and int(self._now()) > cookie.expires:
            return ""
        return str(cookie.address)

    def set_cookie(self, address: str) -> bytes:
        """The ``set-cookie`` that names a host."""
        cookie = COOKIE(address=address)
        if self._ttl:
            cookie.expires = int(self._now()) + self._ttl
        value = b64encode(cookie.SerializeToString())
        return make_set_cookie(self._name, value, self._path, self._ttl, self._attributes)


class CookieSessionStateFactory:
    """The registered factory."""

    def create_session_states(self, config: Any, context: FactoryContext) -> CookieSessionStates:
        """From a CookieBasedSessionState."""
        return CookieSessionStates(config)


FACTORY = CookieSessionStateFactory()
