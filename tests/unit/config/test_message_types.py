"""Message classes by name, imported on first use."""

import subprocess
import sys

import pytest

from proxeny.config.message_types import declare_extension_type, is_extension_type, message_class, type_name_of


@pytest.mark.parametrize(
    "name",
    [
        "envoy.config.bootstrap.v3.Bootstrap",
        "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
        "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput",
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "xds.type.v3.TypedStruct",
        "udpa.type.v1.TypedStruct",
        "google.protobuf.Struct",
    ],
)
def test_known_types(name: str) -> None:
    assert message_class(name).DESCRIPTOR.full_name == name


@pytest.mark.parametrize(
    "name", ["", "envoy", "envoy.config.core.v3.Nothing", "os.Path", "envoy..Node", "envoy/../x.Node", "a.B", "Node"]
)
def test_unknown_types(name: str) -> None:
    with pytest.raises(KeyError):
        message_class(name)


def test_starting_imports_little_of_the_api() -> None:
    code = (
        "import sys, proxeny.config.loader as l\n"
        "l.load_bootstrap(None, 'node: {id: a}')\n"
        "print(sum(name.endswith('_pb2') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120


def test_the_name_in_a_type_url() -> None:
    assert type_name_of("type.googleapis.com/a.b.C") == "a.b.C"


def test_extensions_declare_their_types() -> None:
    declare_extension_type("third.party.v1.Config", "no.such.module")
    assert is_extension_type("third.party.v1.Config")
    assert not is_extension_type("third.party.v1.Other")
