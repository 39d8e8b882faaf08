"""The library's configuration, compiled."""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.http.grpc_json_transcoder.v3 import transcoder_pb2
from tests.transcoding_protos import descriptor_set

from proxeny.extensions.http_filters.grpc_json_transcoder.config import TranscoderConfig


def config(**fields: Any) -> TranscoderConfig:
    """The library with these further fields."""
    fields.setdefault("services", ["lib.Library", "old.Older"])
    return TranscoderConfig(transcoder_pb2.GrpcJsonTranscoder(proto_descriptor_bin=descriptor_set(), **fields))
