"""A configured HTTP filter chain, compiled: who overrides which hook (see ``http.filter``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.http.filter import StreamFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxeny.http.filter import HttpFilterFactory

DECODE_HOOKS = ("decode_headers", "decode_data", "decode_trailers")
ENCODE_HOOKS = ("encode_1xx_headers", "encode_headers", "encode_data", "encode_trailers")
NOTICES = ("decode_complete", "encode_complete", "on_stream_complete", "on_local_reply", "on_destroy")


class FilterChain:
    """Filter factories in configuration order, with one tuple of positions per hook.

    Positions count along the path: from the first filter for decode hooks and notices, from the last one for encode
    hooks. Only filters that override a hook are in its tuple.
    """

    __slots__ = ("create", "factories", "has_encoders", "last", "names", "single", *DECODE_HOOKS,
                 *ENCODE_HOOKS, *NOTICES)  # fmt: skip

    decode_headers: tuple[int, ...]
    decode_data: tuple[int, ...]
    decode_trailers: tuple[int, ...]
    encode_1xx_headers: tuple[int, ...]
    encode_headers: tuple[int, ...]
    encode_data: tuple[int, ...]
    encode_trailers: tuple[int, ...]
    decode_complete: tuple[int, ...]
    encode_complete: tuple[int, ...]
    on_stream_complete: tuple[int, ...]
    on_local_reply: tuple[int, ...]
    on_destroy: tuple[int, ...]

    def __init__(self, factories: Sequence[HttpFilterFactory]) -> None:
        self.factories = tuple(factories)
        self.names = tuple(factory.name for factory in factories)
        self.create = tuple(factory.create for factory in factories)
        self.last = len(factories) - 1
        for hook in (*DECODE_HOOKS, *NOTICES):
            setattr(self, hook, self._overriders(hook, self.factories))
        for hook in ENCODE_HOOKS:
            setattr(self, hook, self._overriders(hook, self.factories[::-1]))
        self.has_encoders = any(getattr(self, hook) for hook in ENCODE_HOOKS)
        self.single = len(self.factories) == 1 and not self.has_encoders

    @staticmethod
    def _overriders(hook: str, factories: Sequence[HttpFilterFactory]) -> tuple[int, ...]:
        default = getattr(StreamFilter, hook)
        return tuple(
            position for position, factory in enumerate(factories) if getattr(factory.filter_class, hook) is not default
        )

    def __repr__(self) -> str:
        return f"FilterChain({', '.join(self.names)})"
