"""EXTENSION_CONFIG patches: configurations of filters that ask for them by name (``config_discovery``).

Istio serves these as a discovery service of their own; where nothing is discovered the filter is given its
configuration at once.
"""

from __future__ import annotations

from typing import Any

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.patch_set import PatchSet, blamed
from proxeny.config.patch.schema import ApplyTo, Context


def give_configs(patches: PatchSet, filters: Any, context: Context, place: str) -> None:
    """Give ``filters`` that discover their configuration the ones that patches have; the last of one name counts."""
    by_name = {patch.value.name: patch for patch in patches.select(ApplyTo.EXTENSION_CONFIG, context)}
    if not by_name:
        return
    for one in filters:
        patch = by_name.get(one.name)
        if patch is not None and one.HasField("config_discovery"):
            _check_type(patch, one, place)
            one.typed_config.CopyFrom(patch.value.typed_config)
            patches.record(patch, True, f"given to '{one.name}' of {place}")


def _check_type(patch: Patch, one: Any, place: str) -> None:
    wanted = [url.rpartition("/")[2] for url in one.config_discovery.type_urls]
    try:
        found = open_any(patch.value.typed_config).DESCRIPTOR.full_name
        if wanted and found not in wanted:
            raise ConfigError(f"filter config has type URL {found} but expect {', '.join(wanted)}.")
    except ConfigError as error:
        raise blamed(error, patch, f"'{one.name}' of {place}") from error.__cause__
