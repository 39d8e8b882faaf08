"""``proxeny demo``."""

import signal
import subprocess
import sys

import pytest


def test_check() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxeny", "demo", "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "curl -i http://127.0.0.1:" in done.stdout
    assert "/help" in done.stdout


def test_bad_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxeny", "demo", "--bogus"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("usage: proxeny demo")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: int) -> None:
    demo = subprocess.Popen([sys.executable, "-m", "proxeny", "demo"], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    with demo.stdout:
        while "Ctrl-C stops it" not in demo.stdout.readline():
            assert demo.poll() is None
        demo.send_signal(number)
        assert demo.wait(30) == 0
