"""Which filter may be the last of a chain (Envoy: ``Config::Utility::validateTerminalFilters``)."""

from __future__ import annotations

from proxeny.config.errors import ConfigError


def check_terminal(name: str, canonical: str, chain: str, is_terminal: bool, is_last: bool) -> None:
    """ConfigError unless the last filter, and no other, is a terminal one. ``chain``: what Envoy calls it."""
    if is_terminal and not is_last:
        raise ConfigError(
            f"Error: terminal filter named {name} of type {canonical} must be the last filter in a {chain} filter "
            "chain."
        )
    if is_last and not is_terminal:
        raise ConfigError(
            f"Error: non-terminal filter named {name} of type {canonical} is the last filter in a {chain} filter chain."
        )
