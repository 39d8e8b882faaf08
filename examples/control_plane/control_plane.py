"""A control plane that serves a folder of YAML files, and what changes in it at once: control_plane.py DIRECTORY"""

from __future__ import annotations

import argparse
from pathlib import Path

from proxeny.config.errors import ConfigError
from proxeny.testing.xds import ControlPlane, Request, ResourceDirectory, Stream, short_name

POLL_S = 0.05


class Reporter:
    """Tells what the clients do."""

    def __init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self._answered: dict[tuple[int, str], str] = {}

    def tell(self, event: object) -> None:
        """A stream is remembered until its end; of requests the ones that take or refuse something are told."""
        if isinstance(event, Stream):
            self._streams[event.number] = event
        elif isinstance(event, Request):
            self._tell_request(event)

    def tell_ended(self) -> None:
        """Whose stream has ended."""
        for number in [number for number, stream in self._streams.items() if stream.ended]:
            say(f"{self._client(number)} is gone")
            del self._streams[number]

    def _tell_request(self, request: Request) -> None:
        client, what = self._client(request.stream), short_name(request.type_name)
        key = (request.stream, request.type_name)
        if not request.nonce:
            say(f"{client} asks for {what}: {', '.join(request.names or request.subscribe) or 'everything'}")
        elif request.answers is not None and self._answered.get(key) != request.nonce:
            self._answered[key] = request.nonce
            verdict, why = ("ACK", "") if request.is_ack else ("NACK", f": {request.error}")
            say(f"{client} {verdict} {what} {request.answers.version}{why}")

    def _client(self, stream: int) -> str:
        found = self._streams.get(stream)
        return found.node.id if found is not None and found.node is not None else f"stream {stream}"


def say(text: str) -> None:
    print(text, flush=True)


def serve(plane: ControlPlane, directory: ResourceDirectory) -> None:
    """Serve until somebody stops it."""
    reporter = Reporter()
    while True:
        try:
            for type_name, version in directory.poll():
                say(f"serving {short_name(type_name)} {version}: {', '.join(plane.served(type_name)) or 'nothing'}")
        except ConfigError as error:
            say(f"cannot be served, all stays as it was: {error}")
        for event in plane.take(POLL_S):
            reporter.tell(event)
        reporter.tell_ended()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder of YAML files over xDS.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=18000, help="0: any free one")
    options = parser.parse_args()
    if not options.directory.is_dir():
        parser.error(f"{options.directory} is no directory")
    with ControlPlane(port=options.port, identifier="examples/control_plane") as plane:
        say(f"listening on {plane.host}:{plane.port}")
        try:
            serve(plane, ResourceDirectory(plane, options.directory))
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
