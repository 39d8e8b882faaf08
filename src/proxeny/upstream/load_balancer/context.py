"""What a load balancer may ask of the request or connection that wants a host (Envoy: ``LoadBalancerContext``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import Connection
    from proxeny.network.stream_info import StreamInfo
    from proxeny.upstream.metadata_criteria import MetadataCriteria


class LbContext(Protocol):
    """The ``context`` of ``choose_host``: the router of a request, the proxy of a connection."""

    def hash_key(self) -> int | None:
        """What hash policies make of it; None without one."""

    @property
    def metadata_match(self) -> MetadataCriteria | None:
        """The endpoint metadata that is asked for."""

    @property
    def downstream_connection(self) -> Connection | None:
        """The client's connection; None where there is none."""

    @property
    def request_stream_info(self) -> StreamInfo | None:
        """The facts of the request, or of the connection where there are no requests."""

    @property
    def downstream_headers(self) -> HeaderMap | None:
        """The request's headers; None where there are no requests."""

    @property
    def host_selection_attempt(self) -> int:
        """How many hosts were declined just before, for this same choice (``retry_host_predicate``)."""

    @property
    def response_cookies(self) -> list[bytes] | None:
        """Where values of ``set-cookie`` go that the response shall carry; None where there is no response."""
