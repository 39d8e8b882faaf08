"""``WeightedCluster``: a share of a route's requests for each of several clusters
(Envoy: ``WeightedClusterSpecifierPlugin``)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.integer import parse_uint64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxeny.http.hash_policy import HashPolicy
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import Runtime
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.route import Route

_MAX_TOTAL: Final = (1 << 32) - 1
_NO_WEIGHT: Final = "Sum of weights in the weighted_cluster must be greater than 0."


class WeightedClusters:
    """Picks one of its routes (one per cluster, compiled beforehand) for a random number."""

    __slots__ = ("_ends", "_hash_policy", "_header", "_names", "_routes", "_runtime", "_runtime_prefix", "_weights")

    def __init__(
        self,
        routes: Sequence[Route],
        names: Sequence[str],
        weights: Sequence[int],
        route_name: str,
        header: bytes,
        runtime_prefix: str,
        runtime: Runtime | None,
        hash_policy: HashPolicy | None = None,
    ) -> None:
        """``hash_policy``: what chooses instead of the random number (``use_hash_policy``)."""
        total = sum(weights)
        if total > _MAX_TOTAL:
            raise ConfigError(f"The sum of weights of all weighted clusters of route {route_name} exceeds {_MAX_TOTAL}")
        if total == 0:
            raise ConfigError(_NO_WEIGHT)
        self._routes = tuple(routes)
        self._names = tuple(names)
        self._weights = tuple(weights)
        self._ends = tuple(accumulate(weights))
        self._header = header
        self._hash_policy = hash_policy
        self._runtime_prefix = runtime_prefix
        self._runtime = runtime if runtime_prefix else None

    def check_runtime(self) -> None:
        """ConfigError where runtime makes all weights zero now: Envoy adds them up when it loads them."""
        if self._runtime is not None and not self._runtime_ends(self._runtime)[-1]:
            raise ConfigError(_NO_WEIGHT)

    @property
    def by_runtime(self) -> bool:
        """Whether runtime may change the weights."""
        return self._runtime is not None

    def matches(self, info: StreamInfo | None) -> bool:
        """As a condition of its route (``StateCondition``): without weight the next route counts."""
        return self._runtime is None or self._runtime_ends(self._runtime)[-1] > 0

    def failure(self, info: StreamInfo | None) -> str:
        """For people."""
        return f"runtime makes the weights of all clusters zero ({self._runtime_prefix})"

    @property
    def routes(self) -> tuple[Route, ...]:
        """One per cluster."""
        return self._routes

    @property
    def chosen_by(self) -> str:
        """For people: what chooses where a request has it; "" = a random number."""
        if self._hash_policy is not None:
            return "the route's hash policy"
        return f"the header '{self._header.decode()}'" if self._header else ""

    def shares(self) -> list[tuple[str, int]]:
        """Each cluster's name (or the header that names it) and its configured weight."""
        names = [
            name or getattr(route.entry, "cluster_header", b"").decode()
            for name, route in zip(self._names, self._routes, strict=True)
        ]
        return list(zip(names, self._weights, strict=True))

    def pick(self, headers: HeaderMap, random_value: int, info: StreamInfo | None = None) -> Route | None:
        """The route into whose interval the number falls; None when runtime made all weights zero."""
        if self._hash_policy is not None:
            number = self._hash_policy.generate(headers, info, None)
            if number is not None:
                random_value = number
        elif self._header:
            values = headers.get_all(self._header)
            number = parse_uint64(values[0]) if len(values) == 1 else None
            if number is not None:
                random_value = number
        ends = self._ends if self._runtime is None else self._runtime_ends(self._runtime)
        if not ends[-1]:
            return None
        return self._routes[bisect_right(ends, random_value % ends[-1])]

    def _runtime_ends(self, runtime: Runtime) -> tuple[int, ...]:
        """Interval ends with the weights of ``<runtime_key_prefix>.<cluster>``."""
        prefix = self._runtime_prefix
        return tuple(
            accumulate(
                [
                    runtime.get_integer(f"{prefix}.{name}", weight)
                    for name, weight in zip(self._names, self._weights, strict=True)
                ]
            )
        )
