"""Writes ``google.protobuf.Any`` from JSON: what comes before ``@type`` is kept until the type is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.types import URL_PREFIX, varint
from proxeny.extensions.http_filters.grpc_json_transcoder.values import shown
from proxeny.extensions.http_filters.grpc_json_transcoder.well_known import ANY, RENDERERS, STRUCT

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import Scalar
    from proxeny.extensions.http_filters.grpc_json_transcoder.object_writer import ProtoObjectWriter
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import MessageType

START_OBJECT: Final = 0
END_OBJECT: Final = 1
START_LIST: Final = 2
END_LIST: Final = 3
SCALAR: Final = 4
NOT_A_VALUE: Final = b'Expect a "value" field for well-known types.'


class AnyWriter:
    """One ``Any``; it does not know its element, only the writer that this belongs to."""

    __slots__ = ("_depth", "_invalid", "_is_rendered", "_is_well_known", "_kept", "_parent", "_type_url", "_writer")

    def __init__(self, parent: ProtoObjectWriter) -> None:
        self._parent = parent
        self._writer: ProtoObjectWriter | None = None
        self._type_url = b""
        self._is_well_known = False
        self._is_rendered = False
        """It is written as a scalar."""
        self._invalid = False
        self._depth = 0
        self._kept: list[tuple[int, bytes, Scalar]] = []

    def _complain(self, text: bytes) -> None:
        if not self._invalid:
            self._parent.invalid_value(b"Any", text)
            self._invalid = True

    def start_object(self, name: bytes) -> None:
        """An object below."""
        self._depth += 1
        writer = self._writer
        if writer is None:
            self._kept.append((START_OBJECT, name, None))
        elif self._is_well_known and self._depth == 1:
            if name != b"value":
                self._complain(NOT_A_VALUE)
            writer.start_object(b"")
        else:
            writer.start_object(name)

    def end_object(self) -> bool:
        """An object's end; False at that of the Any itself."""
        self._depth -= 1
        writer = self._writer
        if writer is None:
            if self._depth >= 0:
                self._kept.append((END_OBJECT, b"", None))
        elif self._depth >= 0 or not self._is_well_known:
            writer.end_object()
        if self._depth < 0:
            self._write()
            return False
        return True

    def start_list(self, name: bytes) -> None:
        """A list below."""
        self._depth += 1
        writer = self._writer
        if writer is None:
            self._kept.append((START_LIST, name, None))
        elif self._is_well_known and self._depth == 1:
            if name != b"value":
                self._complain(NOT_A_VALUE)
            writer.start_list(b"")
        else:
            writer.start_list(name)

    def end_list(self) -> None:
        """Its end."""
        self._depth = max(self._depth - 1, 0)
        if self._writer is None:
            self._kept.append((END_LIST, b"", None))
        else:
            self._writer.end_list()

    def render(self, name: bytes, value: Scalar) -> None:
        """A scalar: the type, or something inside."""
        writer = self._writer
        if writer is None:
            if self._depth == 0 and name == b"@type":
                self._start(value)
            else:
                self._kept.append((SCALAR, name, value))
        elif self._depth == 0 and self._is_well_known:
            if name != b"value":
                self._complain(NOT_A_VALUE)
            if self._is_rendered:
                writer.render_well_known(value)
            elif value is not None:
                self._complain(b"Expect a JSON object.")
        else:
            writer.render(name, value)

    def _start(self, value: Scalar) -> None:
        """The type is known: interpret what was kept."""
        if type(value) is not bytes:
            self._parent.invalid_value(b"String", shown(value))
            self._invalid = True
            return
        self._type_url = value
        type_ = self._resolve(value)
        if type_ is None:
            return
        self._is_rendered = value in RENDERERS
        self._is_well_known = self._is_rendered or type_.name in (ANY, STRUCT)
        self._writer = self._parent.nested(type_)
        if not self._is_well_known:
            self._writer.start_object(b"")
        kept, self._kept = self._kept, []
        for event, name, scalar in kept:
            if event == START_OBJECT:
                self.start_object(name)
            elif event == END_OBJECT:
                self.end_object()
            elif event == START_LIST:
                self.start_list(name)
            elif event == END_LIST:
                self.end_list()
            else:
                self.render(name, scalar)

    def _resolve(self, url: bytes) -> MessageType | None:
        type_ = None
        if url.startswith(URL_PREFIX):
            name = url[len(URL_PREFIX) :].decode("utf-8", "surrogateescape")
            type_ = self._parent.registry.message(name)
            error = b"Invalid type URL, unknown type: " + url[len(URL_PREFIX) :]
        else:
            error = b"Invalid type URL, type URLs must be of the form '" + URL_PREFIX + b"<typename>', got: " + url
        if type_ is None:
            self._parent.invalid_value(b"Any", error)
            self._invalid = True
        return type_

    def _write(self) -> None:
        """Put URL and contents into the message."""
        writer = self._writer
        if writer is None:
            if self._kept:
                self._complain(b"Missing @type for any field in " + self._parent.root_name.encode())
            return
        self._parent.write_raw(b"\x0a" + varint(len(self._type_url)) + self._type_url)
        if writer.data:
            self._parent.write_raw(b"\x12" + varint(len(writer.data)) + writer.data)
