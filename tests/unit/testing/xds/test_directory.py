"""A folder of YAML files as the resources of a control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxeny.config.errors import ConfigError
from proxeny.testing.xds import CDS, EDS, LDS, ControlPlane, ResourceDirectory, type_url
from proxeny.testing.xds.directory import read_files


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


def cluster(name: str, timeout: str = "1s") -> str:
    return f'"@type": {type_url(CDS)}\nname: {name}\nconnect_timeout: {timeout}\n'


def served(directory: ResourceDirectory) -> list[str]:
    """The types that have changed since the last time, once the folder is quiet."""
    assert directory.poll() == []
    return [type_name for type_name, _ in directory.poll()]


def test_a_document_is_a_resource(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    endpoints = f'"@type": {type_url(EDS)}\ncluster_name: one\n'
    file.write_text(f"# only a comment\n---\n{cluster('one')}---\n{endpoints}---\n{cluster('two')}")
    found = read_files([file])
    assert {type_name: list(messages) for type_name, messages in found.items()} == {CDS: ["one", "two"], EDS: ["one"]}
    assert found[CDS]["two"].connect_timeout.seconds == 1


def test_a_list_is_as_in_envoys_own_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    listed = "".join(f'- {{"@type": {type_url(CDS)}, name: {name}}}\n' for name in ("one", "two"))
    file.write_text(f"resources:\n{listed}---\n{cluster('three')}---\nresources: []\n")
    assert list(read_files([file])[CDS]) == ["one", "two", "three"]
    file.write_text(f"resources:\n{listed}- name: three\n")
    with pytest.raises(ConfigError, match=r'a\.yaml:4: resources\[2\]: not a resource: "@type" is missing'):
        read_files([file])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"name: one\n", 'a.yaml:1: not a resource: "@type" is missing'),
        (b"- name: one\n", 'a.yaml:1: not a resource: "@type" is missing'),
        (b"'@type': x/envoy.Other\n", "a.yaml:1: x/envoy.Other is no type of resource"),
        (cluster("").encode(), "a.yaml:2: name: a resource needs a name"),
        (b"a: 1\nb: [\n", "a.yaml:3: "),
        (b"\xff\n", "a.yaml: 'utf-8' codec can't decode"),
        (cluster("one").encode() + b"---\n" + cluster("two", "soon").encode(), "a.yaml:7: connect_timeout: "),
        (cluster("one").encode() + b"---\n" + cluster("one").encode(), "CDS one is already in "),
    ],
)
def test_faults_name_their_place(tmp_path: Path, text: bytes, error: str) -> None:
    (tmp_path / "a.yaml").write_bytes(text)
    with pytest.raises(ConfigError) as raised:
        read_files([tmp_path / "a.yaml"])
    assert error in str(raised.value)


def test_only_what_changes_is_served(tmp_path: Path, plane: ControlPlane) -> None:
    directory = ResourceDirectory(plane, tmp_path)
    (tmp_path / "a.yaml").write_text(cluster("one"))
    (tmp_path / ".hidden.yaml").write_text("nothing")
    (tmp_path / "folder.yaml").mkdir()
    assert served(directory) == [CDS, LDS]
    assert (plane.served(CDS), plane.served(LDS)) == (("one",), ())
    assert served(directory) == []
    (tmp_path / "b.yml").write_text(f'"@type": {type_url(EDS)}\ncluster_name: one\n')
    assert served(directory) == [EDS]
    (tmp_path / "a.yaml").write_text("# a comment\n" + cluster("one"))
    assert served(directory) == []
    (tmp_path / "b.yml").unlink()
    assert served(directory) == [EDS]
    assert plane.served(EDS) == ()


def test_what_changes_between_two_calls_is_not_read(tmp_path: Path, plane: ControlPlane) -> None:
    directory = ResourceDirectory(plane, tmp_path)
    for text in ("name: [", "name: [one", cluster("one")):
        (tmp_path / "a.yaml").write_text(text)
        assert directory.poll() == []
    directory.poll()
    assert plane.served(CDS) == ("one",)


def test_a_bad_file_changes_nothing(tmp_path: Path, plane: ControlPlane) -> None:
    directory = ResourceDirectory(plane, tmp_path)
    (tmp_path / "a.yaml").write_text(cluster("one"))
    served(directory)
    (tmp_path / "a.yaml").write_text(cluster("one", "2s"))
    (tmp_path / "b.yaml").write_text("name: [")
    assert directory.poll() == []
    with pytest.raises(ConfigError, match=r"b\.yaml:"):
        directory.poll()
    assert directory.poll() == []
    assert plane.served(CDS) == ("one",)
    (tmp_path / "b.yaml").write_text(cluster("two"))
    assert served(directory) == [CDS]
    assert plane.served(CDS) == ("one", "two")
    tmp_path.rename(tmp_path.with_name("away"))
    assert served(directory) == []
    assert plane.served(CDS) == ("one", "two")


def test_versions_are_those_of_the_content(tmp_path: Path, plane: ControlPlane) -> None:
    (tmp_path / "a.yaml").write_text(cluster("one"))
    found = []
    for _ in range(2):
        directory = ResourceDirectory(plane, tmp_path)
        directory.poll()
        found.append(directory.poll())
    assert found[0] == found[1]
