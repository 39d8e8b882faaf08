"""Proxeny: an Envoy-compatible service proxy in Python.

For filters written in Python: ``HttpFilter``, ``Request``, ``Response``, ``Headers``, ``Worker`` (imported when first
asked for).
"""

from typing import TYPE_CHECKING, Any

from proxeny.config import newer_fields

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.python.http_filter import HttpFilter, Worker
    from proxeny.extensions.http_filters.python.messages import Headers, Request, Response

newer_fields.install()  # before anything imports Envoy's messages

__version__ = "0.1.0"
__all__ = ["Headers", "HttpFilter", "Request", "Response", "Worker", "__version__"]

_LAZY = {
    "Headers": "messages",
    "HttpFilter": "http_filter",
    "Request": "messages",
    "Response": "messages",
    "Worker": "http_filter",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"proxeny.extensions.http_filters.python.{module}"), name)
