"""What processes of one proxy share."""

from __future__ import annotations

from proxeny.network.process_secret import derived


def test_purposes_have_secrets_of_their_own() -> None:
    assert derived(b"a") == derived(b"a") != derived(b"b")
    assert len(derived(b"a")) == 32
