"""A control plane in the test's own process: it serves resources over gRPC and remembers every request.

>>> from proxeny.testing.xds import CDS, ControlPlane
>>> with ControlPlane() as plane:
...     plane.set(CDS, [{"name": "one", "type": "STATIC"}], version="v1")

The fixture ``control_plane`` of ``proxeny.testing.fixtures`` makes them. Needs grpcio.
"""

from proxeny.testing.xds.control_plane import ControlPlane, NothingCame
from proxeny.testing.xds.directory import ResourceDirectory
from proxeny.testing.xds.records import Request, Response, Stream
from proxeny.testing.xds.types import CDS, ECDS, EDS, LDS, RDS, RTDS, SDS, SRDS, VHDS, short_name, type_url

__all__ = [
    "CDS",
    "ECDS",
    "EDS",
    "LDS",
    "RDS",
    "RTDS",
    "SDS",
    "SRDS",
    "VHDS",
    "ControlPlane",
    "NothingCame",
    "Request",
    "ResourceDirectory",
    "Response",
    "Stream",
    "short_name",
    "type_url",
]
