"""Fields that the installed API lacks are there once this package is imported first."""

import subprocess
import sys

SCRIPT = """
import proxeny
from envoy.config.route.v3 import route_components_pb2 as routes
from validate import validate_pb2
match = routes.RouteMatch()
match.cookies.add(name="a").string_match.exact = "b"
again = routes.RouteMatch.FromString(match.SerializeToString())
assert again.cookies[0].string_match.exact == "b"
rules = routes.CookieMatcher.DESCRIPTOR.fields_by_name["name"].GetOptions().Extensions[validate_pb2.rules]
assert rules.string.max_bytes == 1024
from google.protobuf import descriptor_pool
assert type(descriptor_pool.Default()).__name__ != "_Pool"
"""


def test_cookies_of_a_route_match() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
