"""``envoy.retry_host_predicates.*``: hosts that a retry should not go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.struct_pb2 import ListValue, Struct, Value

if TYPE_CHECKING:
    from proxeny.upstream.host import Host

_LB_NAMESPACE: Final = "envoy.lb"


class PreviousHostsPredicate:
    """Hosts that were tried already; one object per request."""

    __slots__ = ("_attempted",)

    def __init__(self) -> None:
        self._attempted: set[Host] = set()

    def on_host_attempted(self, host: Host) -> None:
        """The request went to ``host``."""
        self._attempted.add(host)

    def should_select_another_host(self, host: Host) -> bool:
        """Whether ``host`` should not be used."""
        return host in self._attempted


class OmitCanaryHostsPredicate:
    """Canaries; remembers nothing."""

    __slots__ = ()

    def on_host_attempted(self, host: Host) -> None:
        """The request went to ``host``."""

    def should_select_another_host(self, host: Host) -> bool:
        """Whether ``host`` should not be used."""
        return bool(host.canary)

    def create(self) -> OmitCanaryHostsPredicate:
        """One object for all requests."""
        return self


class OmitHostMetadataPredicate:
    """Hosts whose metadata (``envoy.lb``) has all the given labels; remembers nothing."""

    __slots__ = ("_labels",)

    def __init__(self, labels: dict[str, Value]) -> None:
        self._labels = labels

    def on_host_attempted(self, host: Host) -> None:
        """The request went to ``host``."""

    def should_select_another_host(self, host: Host) -> bool:
        """Whether ``host`` should not be used."""
        if not self._labels:
            return False
        metadata = host.metadata.filter_metadata
        return _LB_NAMESPACE in metadata and _has_labels(metadata[_LB_NAMESPACE], self._labels)

    def create(self) -> OmitHostMetadataPredicate:
        """One object for all requests."""
        return self


def _has_labels(struct: Struct, labels: dict[str, Value]) -> bool:
    """Of a list any element may be the one (Envoy: ``metadataLabelMatch`` with ``list_as_any``)."""
    for name, wanted in labels.items():
        if name not in struct.fields:
            return False
        value = struct.fields[name]
        if value.HasField("list_value"):
            values: ListValue = value.list_value
            if not any(one == wanted for one in values.values):
                return False
        elif value != wanted:
            return False
    return True


class PreviousHosts:
    """The registered factory."""

    def create_plugin(self, config: Any) -> PreviousHosts:
        """There is nothing to configure."""
        return self

    def create(self) -> PreviousHostsPredicate:
        """The predicate of one request."""
        return PreviousHostsPredicate()


class OmitCanaryHosts:
    """The registered factory."""

    def create_plugin(self, config: Any) -> OmitCanaryHostsPredicate:
        """There is nothing to configure."""
        return OmitCanaryHostsPredicate()


class OmitHostMetadata:
    """The registered factory."""

    def create_plugin(self, config: Any) -> OmitHostMetadataPredicate:
        """``config``: an ``OmitHostMetadataConfig``."""
        if _LB_NAMESPACE not in config.metadata_match.filter_metadata:
            return OmitHostMetadataPredicate({})
        return OmitHostMetadataPredicate(dict(config.metadata_match.filter_metadata[_LB_NAMESPACE].fields))


PREVIOUS_HOSTS: Final = PreviousHosts()
OMIT_CANARY_HOSTS: Final = OmitCanaryHosts()
OMIT_HOST_METADATA: Final = OmitHostMetadata()
