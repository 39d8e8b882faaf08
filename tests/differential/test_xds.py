"""The same control plane before Envoy and Proxeny: ADS and separate streams, state of the world and differences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.differential import xds_cluster_cases, xds_listener_cases, xds_stream_cases
from tests.differential.xds_config import VARIANTS, Variant
from tests.differential.xds_pair import XdsCase, XdsPair

CASES = (*xds_cluster_cases.CASES, *xds_listener_cases.CASES, *xds_stream_cases.CASES)


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    variant: Variant = request.param
    made = XdsPair(variant, tmp_path_factory.mktemp(variant.name))
    yield made
    made.close()


def test_starts_are_the_same(pair: XdsPair) -> None:
    pair.check_start("CDS", "LDS")


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.name)
def test_same(sequence: XdsCase, pair: XdsPair) -> None:
    pair.check(sequence)
