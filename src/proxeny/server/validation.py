"""``--mode validate``: all that serving would check, without opening a socket (Envoy: ``ValidationInstance``)."""

from __future__ import annotations

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadedBootstrap, LoadOptions, load_bootstrap
from proxeny.server.options import Options
from proxeny.stats.store import MainStore

NO_CONFIG = "At least one of --config-path or --config-yaml or Options::configProto() should be non-empty"


def load_options(options: Options) -> LoadOptions:
    """What the flags say about loading."""
    return LoadOptions(
        allow_unknown_static_fields=options.allow_unknown_static_fields,
        reject_unknown_dynamic_fields=options.reject_unknown_dynamic_fields,
        ignore_unknown_dynamic_fields=options.ignore_unknown_dynamic_fields,
        skip_deprecated_logs=options.skip_deprecated_logs,
        accept_unsupported_fields=options.accept_unsupported_fields,
        patch=tuple(options.patch),
        service_node=options.service_node,
    )


def load(options: Options) -> LoadedBootstrap:
    """The bootstrap that the flags name; ConfigError."""
    if not options.config_path and not options.config_yaml:
        raise ConfigError(NO_CONFIG)
    return load_bootstrap(options.config_path or None, options.config_yaml, options=load_options(options))


def validate_bootstrap(loaded: LoadedBootstrap, options: Options | None = None) -> None:
    """Compile everything as serving would; raises ConfigError in Envoy's words."""
    from proxeny.server.configuration import Configuration

    configuration = Configuration(loaded, options or Options(), MainStore())
    configuration.overload(lambda: 0)
    configuration.admin()
    configuration.add_secrets()
    configuration.clusters()
    configuration.listeners()


def validate_options(options: Options) -> None:
    """--mode validate."""
    extensions.install()
    validate_bootstrap(load(options), options)
