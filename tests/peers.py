"""Programs that tests talk to; tools/setup-peers.sh installs them."""

import os
import shutil
from pathlib import Path

import pytest

FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", str(Path.home() / "go/bin")))


def peer(name: str, builder: str = "") -> str:
    """The program's path. Without it the test is skipped, but fails in CI, which can install it; one that needs a
    ``builder`` (Go) only where that is there.
    """
    found = shutil.which(name, path=FOLDERS)
    if found is None:
        if os.environ.get("CI") == "true" and (not builder or shutil.which(builder)):
            pytest.fail(f"{name} is not installed: run tools/setup-peers.sh", pytrace=False)
        pytest.skip(f"{name} is not installed")
    return found
