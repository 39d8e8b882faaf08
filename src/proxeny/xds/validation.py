"""What becomes of the oddities of dynamic configuration (Envoy: ``ProtobufMessage::ValidationVisitor``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from proxeny.config.deprecation import GetBoolean, by_default, judge
from proxeny.config.inspector import Findings
from proxeny.config.loader import LoadOptions

log = logging.getLogger("proxeny.config")

_MOST_REMEMBERED: Final = 4096


def _ignore(count: int) -> None:
    """Nobody counts."""


class DynamicValidation:
    """Unknown fields are refused, ignored, or warned of and counted, as the flags say; the rest is warned of.

    What was warned of once is neither warned of nor counted again.
    """

    def __init__(
        self,
        options: LoadOptions,
        count_unknown: Callable[[int], None] = _ignore,
        count_deprecated: Callable[[int], None] = _ignore,
        count_wip: Callable[[int], None] = _ignore,
        get_boolean: GetBoolean = by_default,
    ) -> None:
        self._options = options
        self._count_unknown = count_unknown
        self._count_deprecated = count_deprecated
        self._count_wip = count_wip
        self._get_boolean = get_boolean
        self._seen: set[str] = set()

    @property
    def refuses_unknown(self) -> bool:
        """Whether a message with unknown fields is rejected."""
        return self._options.reject_unknown_dynamic_fields

    @property
    def accepts_unsupported(self) -> bool:
        """Whether fields that are not served are warned of instead of refused."""
        return self._options.accept_unsupported_fields

    def on_unknown(self, found: list[str]) -> None:
        """One text had unknown fields: Envoy tells of the first."""
        if found and not self._options.ignore_unknown_dynamic_fields and self._is_new(found[0]):
            self._count_unknown(1)
            log.warning("Unknown field: %s", found[0])

    def on_findings(self, findings: Findings) -> None:
        """What a walk over a message that passed found; ConfigError for what the runtime does not allow."""
        deprecated = judge(findings.deprecated, self._get_boolean, dynamic=True)
        self._count_deprecated(len(deprecated))
        fresh_wip = [text for text in findings.wip if self._is_new(text)]
        self._count_wip(len(fresh_wip))
        warnings = [] if self._options.skip_deprecated_logs else deprecated
        warnings += [f"the field {path} is accepted, but has no effect in this build" for path in findings.accepted]
        warnings += [f"the field {path} is not supported by this build and ignored" for path in findings.unsupported]
        for text in [*fresh_wip, *(text for text in warnings if self._is_new(text))]:
            log.warning("%s", text)

    def _is_new(self, text: str) -> bool:
        if text in self._seen:
            return False
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen.add(text)
        return True
