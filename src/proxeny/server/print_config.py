"""``proxeny config``: the configuration as it is used, merged and patched, as YAML that can be loaded again."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from proxeny import extensions
from proxeny.admin.proto_json import Secrets, message_to_json
from proxeny.config.deprecation import judge
from proxeny.config.yaml_loader import is_string
from proxeny.runtime.loader import RuntimeLoader
from proxeny.server.configuration import log_notices
from proxeny.server.options import Options
from proxeny.server.validation import load
from proxeny.stats.store import MainStore


class _Dumper(yaml.CSafeDumper):
    """Quotes every string that the loader would not read as one."""

    def ignore_aliases(self, data: Any) -> bool:
        """Nothing is written as an alias."""
        return True


def _represent_string(dumper: Any, text: str) -> Any:
    style = None if is_string(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_string)


def to_yaml(message: Any, secrets: Secrets = Secrets.SHOWN) -> str:
    """A message as YAML, fields in the order of their numbers."""
    tree = message_to_json(message, secrets=secrets)
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text


def print_config(options: Options) -> None:
    """Print the configuration that the flags name; ConfigError when it is refused."""
    extensions.install()
    loaded = load(options)
    runtime = RuntimeLoader(loaded.bootstrap, MainStore(), loaded.bootstrap.node.cluster)
    log_notices(loaded, judge(loaded.deprecated, runtime.get_boolean))
    sys.stdout.write(to_yaml(loaded.bootstrap))
