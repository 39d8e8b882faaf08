"""Statistics of DNS filters (Envoy: ``ALL_DNS_FILTER_STATS``): ``dns_filter.<stat_prefix>.*``."""

from __future__ import annotations

from typing import Final

from proxeny.extensions.udp_filters.dns_filter.message import Problem, RecordType
from proxeny.stats.schema import Schema

DNS_FILTER: Final = Schema(
    "dns_filter",
    counters=(
        "a_record_queries",
        "aaaa_record_queries",
        "cluster_a_record_answers",
        "cluster_aaaa_record_answers",
        "cluster_srv_record_answers",
        "cluster_unsupported_answers",
        "downstream_rx_errors",
        "downstream_rx_invalid_queries",
        "downstream_rx_queries",
        "downstream_tx_responses",
        "external_a_record_answers",
        "external_a_record_queries",
        "external_aaaa_record_answers",
        "external_aaaa_record_queries",
        "external_unsupported_answers",
        "external_unsupported_queries",
        "externally_resolved_queries",
        "known_domain_queries",
        "local_a_record_answers",
        "local_aaaa_record_answers",
        "local_srv_record_answers",
        "local_unsupported_answers",
        "queries_with_additional_rrs",
        "queries_with_ans_or_authority_rrs",
        "query_buffer_underflow",
        "query_parsing_failure",
        "record_name_overflow",
        "srv_record_queries",
        "unanswered_queries",
        "unsupported_queries",
    ),
    histograms=("downstream_rx_bytes", "downstream_rx_query_latency", "downstream_tx_bytes"),
)
"""``downstream_rx_query_latency`` never gets a sample in Envoy 1.40 either."""

RX_BYTES: Final = DNS_FILTER.slot("downstream_rx_bytes")
RX_ERRORS: Final = DNS_FILTER.slot("downstream_rx_errors")
RX_INVALID: Final = DNS_FILTER.slot("downstream_rx_invalid_queries")
RX_QUERIES: Final = DNS_FILTER.slot("downstream_rx_queries")
TX_BYTES: Final = DNS_FILTER.slot("downstream_tx_bytes")
TX_RESPONSES: Final = DNS_FILTER.slot("downstream_tx_responses")
EXTERNALLY_RESOLVED: Final = DNS_FILTER.slot("externally_resolved_queries")
KNOWN_DOMAIN: Final = DNS_FILTER.slot("known_domain_queries")
UNANSWERED: Final = DNS_FILTER.slot("unanswered_queries")
WITH_ADDITIONAL: Final = DNS_FILTER.slot("queries_with_additional_rrs")

OF_PROBLEM: Final = {
    Problem.UNDERFLOW: DNS_FILTER.slot("query_buffer_underflow"),
    Problem.NOT_A_QUERY: DNS_FILTER.slot("queries_with_ans_or_authority_rrs"),
    Problem.QUESTION: DNS_FILTER.slot("query_parsing_failure"),
}


class ByType:
    """Counters that are told apart by record type; those without one for SRV count it as unsupported."""

    __slots__ = ("_slots", "_unsupported")

    def __init__(self, prefix: str, suffix: str) -> None:
        names = {record_type: f"{prefix}{record_type.name.lower()}_record_{suffix}" for record_type in RecordType}
        self._slots = {int(key): DNS_FILTER.slot(name) for key, name in names.items() if name in DNS_FILTER.names}
        self._unsupported = DNS_FILTER.slot(f"{prefix}unsupported_{suffix}")

    def slot(self, record_type: int) -> int:
        """The counter of a record type."""
        return self._slots.get(record_type, self._unsupported)


QUERIES: Final = ByType("", "queries")
EXTERNAL_QUERIES: Final = ByType("external_", "queries")
EXTERNAL_ANSWERS: Final = ByType("external_", "answers")
LOCAL_ANSWERS: Final = ByType("local_", "answers")
CLUSTER_ANSWERS: Final = ByType("cluster_", "answers")
