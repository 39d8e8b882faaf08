"""The end of a chain of upstream filters can be the first that anybody imports."""

import subprocess
import sys


def test_it_can_be_imported_first() -> None:
    module = "proxeny.extensions.http_filters.upstream_codec"
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
