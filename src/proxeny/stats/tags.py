"""Tag extraction: parts of a statistic's name that become labels (Envoy: TagProducerImpl, well_known_names.cc).

An extractor finds a part of the name to remove (its first group) and the tag's value (its second group, else the
first). Every extractor sees the whole name; what all of them remove leaves the tag-extracted name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar

import re2

from proxeny.config.errors import ConfigError

Produced = tuple[str, tuple[tuple[str, str], ...]]
Kept = TypeVar("Kept")

_VALUE = r"[^\.]+"
_ANYTHING = "anything"
# A last token that no extractor of Envoy's looks into: response codes end in _rq_200 or _rq_2xx.
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII).fullmatch
_CODE = re.compile(r"_rq_\d").search


@lru_cache(4096)
def _ordinary(token: str) -> bool:
    return _WORD(token) is not None and _CODE(token) is None


_MACROS = {
    "<ADDRESS>": r"(?:(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[[a-fA-F_\d]+\])_\d+)",
    "<CIPHER>": r"[\w-]+",
    "<TLS>": r"TLSv\d\.\d",
    "<VALUE>": _VALUE,
    "<ROUTE>": r"[\w\-\.]+",
    "<OWNER>": r"(?:listener|cluster)\..*?",
}

# (tag, regex, text that must be in the name, value that is not a tag). In Envoy's order.
_REGEXES = (
    ("envoy.response_code", r"_rq(_(\d{3}))$", "_rq_", ""),
    ("envoy.response_code_class", r"_rq_((\d))xx$", "_rq_", ""),
    (
        "envoy.dynamo_partition_id",
        r"^http\.<VALUE>\.dynamodb\.table\.<VALUE>\.capacity\.<VALUE>(\.__partition_id=(\w{7}))$",
        ".dynamodb.table.",
        "",
    ),
    (
        "envoy.dynamo_operation",
        r"^http\.<VALUE>\.dynamodb.(?:operation|table\.<VALUE>\.capacity)(\.(<VALUE>))(?:\.|$)",
        ".dynamodb.",
        "",
    ),
    ("envoy.dynamo_table", r"^http\.<VALUE>\.dynamodb.(?:table|error)\.((<VALUE>)\.)", ".dynamodb.", ""),
    ("envoy.ssl_cipher", r"^listener\..*?\.ssl\.ciphers(\.(<CIPHER>))$", ".ssl.ciphers.", ""),
    ("envoy.ssl_curve", r"^<OWNER>\.ssl\.curves(\.(<CIPHER>))$", ".ssl.curves.", ""),
    ("envoy.tls_certificate", r"^<OWNER>\.ssl\.certificate(\.(<VALUE>))\.", ".ssl.certificate.", ""),
    ("envoy.ssl_sigalg", r"^<OWNER>\.ssl\.sigalgs(\.(<CIPHER>))$", ".ssl.sigalgs.", ""),
    ("envoy.ssl_version", r"^<OWNER>\.ssl\.versions(\.(<TLS>))$", ".ssl.versions.", ""),
    ("cipher_suite", r"^cluster\.<VALUE>\.ssl\.ciphers(\.(<CIPHER>))$", ".ssl.ciphers.", ""),
    ("envoy.http_conn_manager_prefix", r"^listener\..*?\.http\.((<VALUE>)\.)", ".http.", ""),
    (
        "envoy.worker_id",
        r"^(?:listener\.(?:<ADDRESS>|<VALUE>)|server|listener_manager|thread_local_cluster_manager)\.worker_((\d+)\.)",
        ".worker_",
        "",
    ),
    ("envoy.listener_address", r"^listener\.((<ADDRESS>|<VALUE>)\.)", "listener.", "admin"),
    ("envoy.rds_route_config", r"^http\.<VALUE>\.rds\.((<ROUTE>)\.)\w+?$", ".rds.", ""),
    ("envoy.scoped_rds_config", r"^http\.<VALUE>\.scoped_rds\.((<ROUTE>)\.)\w+?$", ".scoped_rds.", ""),
    ("envoy.health_check_name", r"^cluster\.<VALUE>\.health_check(\.name\.(<VALUE>))\..+", ".health_check.name.", ""),
    ("envoy.proxy_protocol_prefix", r"^proxy_proto\.((<VALUE>)\.).+", "proxy_proto.", "versions"),
    ("envoy.proxy_protocol_version", r"^proxy_proto\.(?:<VALUE>\.)?(versions\.v(\d)\.)\w+$", "proxy_proto.", ""),
    ("envoy.xds_resource_name", r"^sds\.((<VALUE>)\.).+", "sds.", ""),
)

# (tag, tokens): `*` is any token, `$` the tag's token, `**` the rest.
_TOKENIZED = (
    ("envoy.mongo_callsite", "mongo.*.collection.*.callsite.$.query.**"),
    ("envoy.mongo_collection", "mongo.*.collection.$.**.query.*"),
    ("envoy.mongo_cmd", "mongo.*.cmd.$.**"),
    ("envoy.grpc_bridge_method", "cluster.*.grpc.*.$.**"),
    ("envoy.http_user_agent", "http.*.user_agent.$.**"),
    ("envoy.virtual_cluster", "vhost.*.vcluster.$.**"),
    ("envoy.fault_downstream_cluster", "http.*.fault.$.**"),
    ("envoy.grpc_bridge_service", "cluster.*.grpc.$.**"),
    ("envoy.tcp_prefix", "tcp.$.**"),
    ("envoy.udp_prefix", "udp.$.**"),
    ("envoy.clientssl_prefix", "auth.clientssl.$.**"),
    ("envoy.ratelimit_prefix", "ratelimit.$.**"),
    ("envoy.cluster_name", "cluster.$.**"),
    ("envoy.ext_authz_prefix", "cluster.*.ext_authz.$.**"),
    ("envoy.ext_authz_prefix", "http.*.ext_authz.$.**"),
    ("envoy.http_conn_manager_prefix", "http.$.**"),
    ("envoy.virtual_host", "vhost.$.**"),
    ("envoy.mongo_prefix", "mongo.$.**"),
    ("envoy.route", "vhost.*.route.$.**"),
    ("envoy.thrift_prefix", "thrift.$.**"),
    ("envoy.redis_prefix", "redis.$.**"),
    ("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    ("envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    ("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
    ("envoy.dns_filter_prefix", "dns_filter.$.**"),
    ("envoy.connection_limit_prefix", "connection_limit.$.**"),
)


class TagExtractor:
    """Finds one tag in a name."""

    __slots__ = ("name", "negative", "regex", "substring", "token")

    def __init__(self, name: str, regex: str, substring: str = "", negative: str = "") -> None:
        self.name = name
        for macro, text in _MACROS.items():
            regex = regex.replace(macro, text)
        try:
            self.regex = re2.compile(regex)
        except re2.error as error:
            raise ConfigError(f"Invalid regex '{regex}': {_words(error)}") from error
        self.substring = substring
        self.negative = negative
        self.token = _first_token(regex)

    def extract(self, name: str) -> tuple[str, int, int] | None:
        """(value, start, end of what goes) or None."""
        if self.substring and self.substring not in name:
            return None
        match = self.regex.search(name)
        if match is None or not match.re.groups:
            return None
        value = match.group(2) if match.re.groups > 1 else match.group(1)
        if value is None or (self.negative and value == self.negative):
            return None
        return value, match.start(1), match.end(1)


def _words(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _first_token(regex: str) -> str:
    # `^listener\.` can only match names whose first token is "listener".
    if not regex.startswith("^"):
        return ""
    token = regex[1:].partition(r"\.")[0]
    return token if token.isascii() and token.replace("_", "a").isalnum() else ""


def _tokens_regex(tokens: str) -> str:
    parts = []
    for token in tokens.split("."):
        if token == "$":
            parts.append(rf"(({_VALUE})\.)")
        elif token == "**":
            parts.append(".*?" if not tokens.endswith("**") else ".*")
        else:
            parts.append((_VALUE if token == "*" else re2.escape(token)) + r"\.")
    pattern = "".join(parts)
    return "^" + (pattern if tokens.endswith("**") else pattern.removesuffix(r"\.") + "$")


def _default_extractors() -> list[TagExtractor]:
    made = [TagExtractor(name, regex, substring, negative) for name, regex, substring, negative in _REGEXES]
    return made + [TagExtractor(name, _tokens_regex(tokens)) for name, tokens in _TOKENIZED]


class TagProducer:
    """All extractors of a configuration, and its fixed tags."""

    def __init__(self, config: Any = None, cli_tags: tuple[tuple[str, str], ...] = ()) -> None:
        """`config` is a StatsConfig message or None; ConfigError in Envoy's words."""
        self.fixed: list[tuple[str, str]] = list(cli_tags)
        self._by_token: dict[str, list[TagExtractor]] = {}
        self._any: list[TagExtractor] = []
        self._cache: dict[str, Produced] = {}
        self._prefixes: dict[str, Produced | None] = {}
        # Only Envoy's own extractors are known to look at a name's last token in the ways of _ordinary().
        self._custom = False
        seen = {name for name, _ in cli_tags}
        use_defaults = (
            config is None or not config.HasField("use_all_default_tags") or config.use_all_default_tags.value
        )
        defaults = _default_extractors()
        if use_defaults:
            for extractor in defaults:
                seen.add(extractor.name)
                self._add(extractor)
        for specifier in config.stats_tags if config is not None else ():
            self._add_specifier(specifier, seen, defaults)

    def _add_specifier(self, specifier: Any, seen: set[str], defaults: list[TagExtractor]) -> None:
        name = specifier.tag_name
        if specifier.WhichOneof("tag_value") == "fixed_value":
            # Envoy takes these as they are: nameless ones and repetitions too.
            self.fixed.append((name, specifier.fixed_value))
            return
        if not name:
            raise ConfigError("tag_name cannot be empty")
        if name in seen:
            raise ConfigError(f"Tag name '{name}' specified twice.")
        seen.add(name)
        if specifier.regex:
            self._custom = True
            self._add(TagExtractor(name, specifier.regex))
            return
        known = [extractor for extractor in defaults if extractor.name == name]
        if not known:
            raise ConfigError(f"No regex specified for tag specifier and no default regex for name: '{name}'")
        for extractor in known:
            self._add(extractor)

    def _add(self, extractor: TagExtractor) -> None:
        if extractor.token:
            self._by_token.setdefault(extractor.token, []).append(extractor)
        else:
            self._any.append(extractor)

    def produce(self, name: str) -> Produced:
        """The tag-extracted name and the tags of a statistic."""
        prefix, dot, last = name.rpartition(".")
        if dot and not self._custom and _ordinary(last):
            try:
                found = self._prefixes[prefix]
            except KeyError:
                found = self._of_prefix(prefix)
            if found is not None:
                return found[0] + last, found[1]
        cached = self._cache.get(name)
        if cached is None:
            cached = _keep(self._cache, name, self._produce(name)[0])
        return cached

    def _of_prefix(self, prefix: str) -> Produced | None:
        # What `prefix.anything` gives, unless the last token itself is a tag (ssl.ciphers.<cipher>).
        found, end = self._produce(f"{prefix}.{_ANYTHING}")
        if end > len(prefix) + 1 or not found[0].endswith(_ANYTHING):
            return _keep(self._prefixes, prefix, None)
        return _keep(self._prefixes, prefix, (found[0].removesuffix(_ANYTHING), found[1]))

    def _produce(self, name: str) -> tuple[Produced, int]:
        # And where the last part that goes ends.
        tags = []
        taken: set[str] = set()
        cuts = []
        for extractor in (*self._any, *self._by_token.get(name.partition(".")[0], ())):
            if extractor.name in taken:
                continue
            match = extractor.extract(name)
            if match is not None:
                value, start, end = match
                taken.add(extractor.name)
                tags.append((extractor.name, value))
                cuts.append((start, end))
        tags.extend(self.fixed)
        return (_without(name, cuts), tuple(tags)), max([end for _, end in cuts], default=0)


def _keep(cache: dict[str, Kept], name: str, value: Kept) -> Kept:
    # Names come and go with xDS updates and dynamic statistics.
    if len(cache) >= 100_000:
        cache.clear()
    cache[name] = value
    return value


def _without(name: str, cuts: list[tuple[int, int]]) -> str:
    kept = []
    position = 0
    for start, end in sorted(cuts):
        if start > position:
            kept.append(name[position:start])
        position = max(position, end)
    kept.append(name[position:])
    return "".join(kept)
