"""A configured HTTP filter chain, compiled: who overrides which hook (see ``http.filter``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

    __slots__ = ("_variants", "create", "direct_decode", "direct_encode", "disabled", "factories", "has_encoders",
                 "last", "names", "single", *DECODE_HOOKS, *ENCODE_HOOKS, *NOTICES)  # fmt: skip

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

    def __init__(self, factories: Sequence[HttpFilterFactory], disabled: Sequence[bool] = ()) -> None:
        self.factories = tuple(factories)
        self.disabled = tuple(disabled) if any(disabled) else ()
        """Filters that run only where a route switches them on (``HttpFilter.disabled``); empty = none."""
        self._variants: dict[tuple[bool, ...], FilterChain] = {}
        self.names = tuple(factory.name for factory in factories)
        self.create = tuple(factory.create for factory in factories)
        self.last = len(factories) - 1
        for hook in (*DECODE_HOOKS, *NOTICES):
            setattr(self, hook, self._overriders(hook, self.factories))
        for hook in ENCODE_HOOKS:
            setattr(self, hook, self._overriders(hook, self.factories[::-1]))
        self.has_encoders = any(getattr(self, hook) for hook in ENCODE_HOOKS)
        self.single = self.decode_headers == (self.last,)
        """Nobody but the terminal filter sees the request's headers."""
        terminal_only = ((), (self.last,))
        self.direct_decode = self.decode_data in terminal_only and self.decode_trailers in terminal_only
        self.direct_decode = self.direct_decode and self.last >= 0 and not self.decode_complete
        """Nobody but the terminal filter sees more than headers: no iteration as long as all say CONTINUE."""
        self.direct_encode = not (self.encode_data or self.encode_trailers or self.encode_complete)
        """The same for the response."""

    def for_route(self, route: Any) -> FilterChain:
        """The chain without the filters that the route (or the configuration) switches off; cached per combination."""
        if not self.disabled and (route is None or not route.switches_filters):
            return self
        off = tuple([self._is_off(position, name, route) for position, name in enumerate(self.names)])
        chain = self._variants.get(off)
        if chain is None:
            chain = FilterChain([factory for factory, gone in zip(self.factories, off, strict=True) if not gone])
            self._variants[off] = chain
        return chain

    def _is_off(self, position: int, name: str, route: Any) -> bool:
        if position == self.last:
            return False
        said: bool | None = None if route is None else route.filter_disabled(name)
        if said is None:
            return bool(self.disabled) and self.disabled[position]
        return said

    @staticmethod
    def _overriders(hook: str, factories: Sequence[HttpFilterFactory]) -> tuple[int, ...]:
        default = getattr(StreamFilter, hook)
        return tuple(
            position for position, factory in enumerate(factories) if getattr(factory.filter_class, hook) is not default
        )

    def __repr__(self) -> str:
        return f"FilterChain({', '.join(self.names)})"
