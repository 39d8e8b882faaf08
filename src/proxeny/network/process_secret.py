"""A secret that main and all its workers share: drawn before they are forked, gone with them."""

from __future__ import annotations

import hmac
import os
from typing import Final

_SECRET: Final = os.urandom(32)


def derived(purpose: bytes) -> bytes:
    """32 bytes for one purpose, the same in every process of this proxy."""
    return hmac.digest(_SECRET, purpose, "sha256")
