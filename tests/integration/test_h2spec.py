"""h2spec against the downstream codec: every case passes that passes with Envoy 1.40."""

import re
import subprocess

from tests.integration.configs import http
from tests.integration.test_http import Start, StartUpstream
from tests.peers import peer

NOT_IN_ENVOY_EITHER = {
    # It closes where h2spec wants the frame of the RFC, or goes on where h2spec wants an error.
    "Sends a GOAWAY frame",
    "Sends invalid connection preface",
    "closed: Sends a DATA frame after sending RST_STREAM frame",
    "closed: Sends a HEADERS frame after sending RST_STREAM frame",
    "closed: Sends a DATA frame",
    "closed: Sends a HEADERS frame",
    "Sends stream identifier that is numerically smaller than previous",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    "Sends a GOAWAY frame with unknown error code",
}
"""What fails with Envoy 1.40 in the same way."""


def failed_cases(output: str) -> set[str]:
    plain = re.sub(r"\x1b\[[0-9;]*m|\r", "\n", output.partition("Failures:")[0])
    return {match.group(1).strip() for match in re.finditer(r"\u00d7 \d+: (.*)", plain)}


def test_h2spec(proxy: Start, upstream: StartUpstream) -> None:
    command = peer("h2spec", builder="go")
    config = http(upstream().port).replace(
        "stat_prefix: web", "stat_prefix: web\n          delayed_close_timeout: 0.05s"
    )
    port = proxy(config).port("web")
    done = subprocess.run([command, "-p", str(port), "-o", "1"], capture_output=True, text=True, check=False)
    assert re.search(r"^\d+ tests, \d+ passed", done.stdout, re.M), done.stdout + done.stderr
    assert failed_cases(done.stdout) <= NOT_IN_ENVOY_EITHER
