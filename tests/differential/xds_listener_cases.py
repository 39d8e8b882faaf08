"""Listeners and routes from the control plane."""

from __future__ import annotations

from tests.differential.xds_config import listener, routes
from tests.differential.xds_pair import XdsCase, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import LDS, RDS

CASES: list[XdsCase] = []
case = into(CASES)


@case("200 'x'", "200 'y'")
def routes_over_the_same(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, listener("l", rds={"route_config_name": "r", "config_source": side.source}))
    side.acked(RDS, version)
    side.get("l", "/say", "x")
    side.put(RDS, routes("r", "=y"))
    side.get("l", "/say", "y")
