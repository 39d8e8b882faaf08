"""Patches of listeners that are delivered while the server runs: the rules are those of static ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from proxeny.xds.resource import Amend

if TYPE_CHECKING:
    from proxeny.config.patch.applied import AppliedPatches

log = logging.getLogger("proxeny.config")


def listener_patcher(patches: AppliedPatches | None) -> Amend | None:
    """What patches each delivered listener, and logs it; None without patches."""
    if patches is None:
        return None
    from proxeny.config.patch.listeners import patch_listener

    chosen = patches.for_delivered()

    def patch(listener: Any) -> bool:
        try:
            return patch_listener(chosen, listener)
        finally:
            for line in chosen.summary():
                log.info("patched by %s", line)
            for line in chosen.notes:
                log.warning("%s", line)
            chosen.forget()

    return patch
