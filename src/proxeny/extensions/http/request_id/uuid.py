"""``envoy.request_id.uuid``: request ids are UUIDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.request_id import UuidRequestId

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class UuidFactory:
    """The registered factory."""

    def create_request_id(self, message: Any, context: FactoryContext) -> UuidRequestId:
        """From a UuidRequestIdConfig."""
        pack = message.pack_trace_reason
        samples = message.use_request_id_for_trace_sampling
        return UuidRequestId(
            pack.value if message.HasField("pack_trace_reason") else True,
            samples.value if message.HasField("use_request_id_for_trace_sampling") else True,
        )


FACTORY = UuidFactory()
