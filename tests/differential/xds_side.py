"""One proxy beside a control plane of its own, driven by a case; all that is worth comparing becomes text.

Requests are normalised by what they answer instead of by nonce, and grouped by stream and type: nothing says which of
two types asks first. Both sides wait for the same facts, so that a transcript does not depend on how fast a proxy is.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.differential.cds import Backend
from tests.differential.proxies import Proxy
from tests.differential.xds_config import PLANE, Json, Variant

from proxeny.testing.xds import CDS, EDS, LDS, RDS, SDS, ControlPlane, Request, Stream, short_name
from proxeny.testing.xds.types import SHORT_NAMES

TIMEOUT = 20.0
POLL = 0.01
BACKENDS = ("one", "two", "three")
STATS = (
    r"^(control_plane|cluster_manager\.(cds\.|cluster_(added|modified|removed)$|active_clusters|warming_clusters)"
    r"|listener_manager\.(lds\.|listener_(added|modified|removed|create_\w+|in_place_updated)$"
    r"|total_listeners_(active|warming))"
    r"|cluster\..*\.(update_\w+|version_text|init_fetch_timeout|assignment_\w+|membership_total|warming_state)$"
    r"|http\..*\.(rds|scoped_rds|vhds)\.|sds\.|extension_config_discovery\.|runtime\.\w*(layer|load|override)"
    r"|server\.state|listener\..*\.(rds|ssl_context_update_by_sds|downstream_context_secrets_not_ready))"
)
UNSTEADY = re.compile(r"\.(\w+_time(_ms)?|update_duration|version)$")
"""Times, and hashes of what ``version_text`` tells already."""
EDS_STATS = re.compile(r"^cluster\..*\.(update_|assignment_|init_fetch)")
"""A worker of Envoy may hold those of a cluster that is gone when another one of its name comes."""
NOTHING = re.compile(r"(?!)")


class Side:
    """One proxy under the cases. ``bootstrap`` makes its configuration from the control plane's port."""

    def __init__(
        self, kind: str, variant: Variant, folder: Path, bootstrap: Callable[[int], Json] | None = None,
        prepare: Callable[[ControlPlane], None] | None = None,
    ) -> None:  # fmt: skip
        self.variant = variant
        self.backends = {name: Backend(name) for name in BACKENDS}
        self.plane = ControlPlane(identifier="plane")
        self.lines: list[str] = []
        self._ignored = NOTHING
        self._case = "start"
        self._runs: Counter[str] = Counter()
        self._versions = 0
        self._streams: dict[int, str] = {}
        (prepare or _nothing_yet)(self.plane)
        config = (bootstrap or variant.bootstrap)(self.plane.port)
        self.proxy = Proxy(kind, json.dumps(config), folder, args=("--drain-time-s", "0"))
        self._stats_before: dict[str, int | str] = {}

    @property
    def source(self) -> Json:
        """The config source that resources of a case are to name."""
        return self.variant.source()

    def port(self, backend: str) -> int:
        """Where a backend listens."""
        return self.backends[backend].port

    def note(self, text: str) -> None:
        """Put a line into the transcript."""
        self.lines.append(self._normalise(text))

    def _normalise(self, text: str) -> str:
        for name, backend in self.backends.items():
            text = re.sub(rf"\b{backend.port}\b", f"<{name}>", text)
        text = re.sub(rf"\b{self.plane.port}\b", "<plane>", text)
        return self.proxy.normalise(text).replace(str(self.proxy.folder), "<folder>")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a fact."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                happened = [*self.lines, *map(str, self.plane.log)]
                raise AssertionError(f"{self.proxy.kind} waits in vain; so far:\n" + "\n".join(happened))
            time.sleep(POLL)

    # -- the control plane -------------------------------------------------------------------------------------

    def serve(self, type_name: str, *resources: Any) -> str:
        """Have the control plane serve these and no others; the version, to wait for."""
        self._versions += 1
        return self.plane.set(type_name, resources, self.version)

    def serve_by_name(self, type_name: str, **resources: Any) -> str:
        """As ``serve``, under these names."""
        self._versions += 1
        return self.plane.set(type_name, resources, self.version)

    @property
    def version(self) -> str:
        """The last one."""
        return f"{self._case}.{self._versions}"

    def put(self, type_name: str, *resources: Any) -> str:
        """As ``serve``; wait until it is taken."""
        version = self.serve(type_name, *resources)
        self.acked(type_name, version)
        return version

    def put_bad(self, type_name: str, *resources: Any) -> str:
        """As ``serve``; wait until it is refused."""
        version = self.serve(type_name, *resources)
        self.nacked(type_name, version)
        return version

    def acked(self, type_name: str, version: str) -> None:
        """Wait for an ACK."""
        self._await(lambda: self.plane.wait_for_ack(type_name, version))

    def nacked(self, type_name: str, version: str) -> None:
        """Wait for a NACK."""
        self._await(lambda: self.plane.wait_for_nack(type_name, version))

    def replied(self, type_name: str, version: str) -> None:
        """Wait for an ACK or a NACK."""
        self.asked(type_name, lambda request: request.answers is not None and request.answers.version == version)

    def ignore(self, pattern: str) -> None:
        """Lines that are not compared: of what depends on how long something took, for example."""
        self._ignored = re.compile(pattern)

    def asked(self, type_name: str, matches: Callable[[Request], bool]) -> None:
        """Wait for a request."""
        self._await(lambda: self.plane.wait_for(type_name, matches))

    def asked_for(self, type_name: str, *names: str) -> None:
        """Wait until the names that are subscribed to on all open streams are these."""
        self._await(lambda: self.plane.wait(lambda: self.plane.subscribed(type_name) == set(names)))

    def _await(self, wait: Callable[[], Any]) -> None:
        try:
            wait()
        except AssertionError as error:
            raise AssertionError(f"{self.proxy.kind}: {error}\n{self.proxy.log_tail()}") from None

    # -- questions ---------------------------------------------------------------------------------------------

    def get(self, listener: str, path: str, want: str) -> None:
        """Ask until the answer has ``want``; the answer."""
        seen = ""

        def has_it() -> bool:
            nonlocal seen
            seen = self.ask(listener, path)
            return want in seen

        try:
            self.wait_until(has_it)
        finally:
            self.note(f"{listener}{path}: {seen}")

    def ask(self, listener: str, path: str) -> str:
        """One answer."""
        port = self.listening().get(listener)
        if port is None:
            return "no listener"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return f"{answer.status} {answer.read().decode()!r}"
        except OSError as error:
            return type(error).__name__
        finally:
            connection.close()

    def listening(self) -> dict[str, int]:
        """Ports by listener."""
        statuses = json.loads(self.proxy.admin("/listeners?format=json")).get("listener_statuses", [])
        return {status["name"]: status["local_address"]["socket_address"]["port_value"] for status in statuses}

    def stat(self, name: str) -> int:
        """A counter or gauge."""
        return self.proxy.stats(f"^{re.escape(name)}$").get(name, 0)

    def before(self, name: str) -> int:
        """A counter as it was when the case began."""
        value = self._stats_before.get(name, 0)
        return value if isinstance(value, int) else 0

    def wait_for_stat(self, name: str, value: int) -> None:
        """Wait until it is that."""
        self.wait_until(lambda: self.stat(name) == value)

    # -- what is compared --------------------------------------------------------------------------------------

    def begin(self, case: str) -> None:
        """Another case."""
        self.plane.forget()
        self._ignored = NOTHING
        self._runs[case] += 1
        # A case that is run again must not find the versions of its first run.
        self._case = case if self._runs[case] == 1 else f"{case}#{self._runs[case]}"
        self._versions = 0
        self.lines = []
        self._stats_before = self._all_stats()

    def requests(self) -> list[str]:
        """What was asked for since the case began, by stream and type. Which of many streams is opened first does not
        matter.
        """
        groups: dict[tuple[str, int], list[str]] = {}
        for event in self.plane.log:
            if isinstance(event, Stream):
                self._streams[event.number] = _label(event)
                if event.method.type_name == "":
                    groups.setdefault((_label(event), event.number), []).append("opened")
            elif isinstance(event, Request):
                label = self._labelled(event)
                if _is_goodbye(event) and not label.startswith("ADS"):
                    continue
                groups.setdefault((label, event.stream), []).append(self._normalise(_told(event)))
        ordered = sorted(
            (label, number if label.startswith("ADS") else 0, told) for (label, number), told in groups.items()
        )
        lines = [f"{label}: {line}" for label, _, told in ordered for line in told]
        return [line for line in lines if not self._ignored.search(line)]

    def _labelled(self, request: Request) -> str:
        """The stream's name and the type; a stream of one type goes by what it first asks for."""
        label = self._streams[request.stream]
        if label == "ADS":
            return f"ADS {short_name(request.type_name)}"
        if label.endswith("?"):
            names = sorted(request.names + request.subscribe)
            label = self._streams[request.stream] = f"{label[:-1]} {','.join(names)}".rstrip()
        return label

    def state(self) -> list[str]:
        """How stats moved since the case began, and what /config_dump tells of every resource."""
        before, now = self._stats_before, self._all_stats()
        asked = self.plane.requests_of(EDS)
        found = []
        for name in sorted(now):
            value, was = now[name], before.get(name, 0)
            if value == was or self._ignored.search(name) or (EDS_STATS.search(name) and not asked):
                continue
            if isinstance(value, str):
                found.append(f"{name}: {value}")
            else:
                found.append(f"{name}: {value - (was if isinstance(was, int) else 0):+}")
        return [self._normalise(line) for line in found + self.dump() if not self._ignored.search(line)]

    def _all_stats(self) -> dict[str, int | str]:
        found: dict[str, int | str] = {}
        for line in self.proxy.admin(f"/stats?filter={STATS}").splitlines():
            name, _, value = line.partition(": ")
            if not UNSTEADY.search(name):
                found[name] = int(value) if value.isdigit() else value
        return found

    def dump(self) -> list[str]:
        """/config_dump: kind, name, version, error of every dynamic resource."""
        found = []
        for section in json.loads(self.proxy.admin("/config_dump?include_eds")).get("configs", []):
            kind = section["@type"].rpartition(".")[2]
            for group, items in section.items():
                if group.startswith("dynamic_") and isinstance(items, list):
                    found += [_dumped(f"{kind} {group}", item) for item in items]
        return sorted(filter(None, found))

    def finish(self) -> None:
        """Take all resources away; the next case begins with nothing."""
        self.plane.accept()
        self.plane.release()
        self._clear(LDS)
        self.wait_for_stat("listener_manager.total_listeners_active", 0)
        self.wait_for_stat("listener_manager.total_listeners_draining", 0)
        self.asked_for(RDS)
        self._clear(CDS)
        self.wait_for_stat("cluster_manager.active_clusters", 1)
        self.asked_for(EDS)
        self.asked_for(SDS)
        self.wait_until(lambda: not any(name.startswith("cluster.") for name in self._all_stats() if PLANE not in name))
        for type_name in SHORT_NAMES:
            if type_name not in (LDS, CDS):
                self.plane.set(type_name, ())

    def _clear(self, type_name: str) -> None:
        """What was sent beside the book-keeping goes too."""
        if not self.variant.delta:
            self.put(type_name)
            return
        sent = {name for response in self.plane.responses if response.type_name == type_name for name in response.names}
        if sent or self.plane.served(type_name):
            self.plane.set(type_name, ())
            mark = self.plane.mark()
            self.plane.send(type_name, version="cleared", removed=sorted(sent))
            self._await(lambda: self.plane.wait_for_ack(type_name, "cleared", since=mark))

    def close(self) -> None:
        self.proxy.close()
        self.plane.close()
        for backend in self.backends.values():
            backend.close()

    def hold(self, listener: str, path: str) -> Callable[[], None]:
        """A request under way at backend one; call the result to let it end, and note its answer."""
        backend = self.backends["one"]
        backend.held.clear()
        backend.let_go.clear()
        heard: list[str] = []
        thread = threading.Thread(target=lambda: heard.append(self.ask(listener, path)), daemon=True)
        thread.start()
        assert backend.held.wait(TIMEOUT)

        def let_go() -> None:
            backend.let_go.set()
            thread.join(TIMEOUT)
            self.note(f"held: {heard}")

        return let_go


def _nothing_yet(plane: ControlPlane) -> None:
    """A proxy is live once it heard that there is nothing."""
    plane.set(LDS, (), "nothing")
    plane.set(CDS, (), "nothing")


def _label(stream: Stream) -> str:
    """``ADS``, or the type and a mark for what is not known yet."""
    return f"{short_name(stream.method.type_name)}?" if stream.method.type_name else "ADS"


def _told(request: Request) -> str:
    parts = [f"version={request.version!r}"] if not request.delta else []
    parts += _listed("names", request.names) + _listed("subscribe", request.subscribe)
    parts += _listed("unsubscribe", request.unsubscribe)
    if request.initial_versions:
        parts.append(f"initial_versions={dict(sorted(request.initial_versions.items()))}")
    if request.answers is not None:
        stale = "" if request.answers.stream == request.stream else " of another stream"
        parts.append(f"answers={request.answers.version!r}{stale}")
    elif request.nonce:
        parts.append(f"nonce={request.nonce!r}")
    if request.error is not None:
        parts.append(f"error={request.error_code}:{_plain(request.error)!r}")
    parts += ["node"] if request.node is not None else []
    return " ".join(parts)


def _is_goodbye(request: Request) -> bool:
    """Of a stream of its own: it ends behind it, and may be lost with it."""
    return bool(request.unsubscribe) and not request.subscribe and not request.nonce


def _plain(text: str) -> str:
    """Without nonces, and the blanks and marks that Envoy puts into the text of messages, others in each process."""
    text = re.sub(r"\bnonce: \"n\d+\"", "nonce: <nonce>", text)
    return re.sub(r"goo\.gle/debug\w+\s*", "", text)


def _listed(what: str, names: Iterable[str]) -> list[str]:
    return [f"{what}={sorted(names)}"] if names else []


def _dumped(what: str, item: Json) -> str:
    """One resource of /config_dump; the states of a listener are beside each other. Empty for what only Proxeny tells:
    errors of others than listeners.
    """
    states = {key: value for key, value in item.items() if key.endswith("_state") and key != "error_state"}
    content = {key: value for key, value in item.items() if isinstance(value, dict) and "@type" in value}
    inner = next(iter(content.values()), {})
    name = item.get("name") or inner.get("name") or inner.get("cluster_name", "")
    versions = [f"version={item['version_info']!r}"] if "version_info" in item else []
    versions += [f"{state}={value.get('version_info')!r}" for state, value in sorted(states.items())]
    if "error_state" in item and not what.startswith("ListenersConfigDump"):
        if not content:
            return ""
    elif "error_state" in item:
        # Of which version they were is what only Proxeny tells.
        versions.append(f"error={_plain(item['error_state'].get('details', ''))!r}")
    status = [item["client_status"]] if "client_status" in item else []
    return " ".join([what, name, *versions, *status])
