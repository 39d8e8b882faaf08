"""Profilers and allocator pages: answered as a build of Envoy without them answers (Envoy: ProfilingHandler)."""

from __future__ import annotations

from proxeny.admin.query import Query
from proxeny.admin.response import OK, AdminResponse, respond


def _switch(query: Query, refusal: str, status: int) -> AdminResponse:
    enable = query.parameters.get("enable", "")
    if len(query.parameters) != 1 or enable not in ("y", "n"):
        return respond("?enable=<y|n>\n", 400)
    return respond(refusal, status) if enable == "y" else respond(OK)


def cpu_profiler(query: Query, body: bytes) -> AdminResponse:
    """/cpuprofiler"""
    return _switch(query, "failure to start the profiler", 500)


def heap_profiler(query: Query, body: bytes) -> AdminResponse:
    """/heapprofiler"""
    return _switch(query, "The current build does not support heap profiler", 501)


def allocation_profiler(query: Query, body: bytes) -> AdminResponse:
    """/allocprofiler"""
    return _switch(query, "The current build does not support allocation profiler", 501)


def heap_dump(query: Query, body: bytes) -> AdminResponse:
    """/heap_dump and /peak_heap_dump"""
    return respond("Heap dump is not supported by this build", 501)


def tcmalloc(query: Query, body: bytes) -> AdminResponse:
    """/memory/tcmalloc"""
    return respond("TCMalloc is not used by this build", 501)


def contention(query: Query, body: bytes) -> AdminResponse:
    """/contention"""
    return respond("Mutex contention tracing is not enabled. To enable, run Envoy with flag --enable-mutex-tracing.")
