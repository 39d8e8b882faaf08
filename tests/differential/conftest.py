"""One pair of proxies per configuration for the whole session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.harness import Pairs


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    started = Pairs(Path(tmp_path_factory.mktemp("differential")))
    yield started
    started.close()
