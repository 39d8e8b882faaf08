"""The tables of served fields: names that exist, and the document that is written from them."""

from pathlib import Path

import pytest

from proxeny.config import compatibility
from proxeny.config.message_types import message_descriptor
from proxeny.config.support import AREAS, TABLES, is_extension, support_of
from proxeny.config.support.table import FieldClass

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_name_is_a_real_field_of_one_class(name: str) -> None:
    support = TABLES[name]
    real = {field.name for field in message_descriptor(name).fields}
    assert support.done | support.accepted <= real
    assert not support.done & support.accepted


def test_a_message_stands_in_one_area() -> None:
    assert sum(len(table) for table in AREAS.values()) == len(TABLES)


def test_the_document_is_up_to_date() -> None:
    written = (ROOT / "docs" / "compatibility.md").read_text()
    assert written == compatibility.render(), "run: python -m proxeny.config.compatibility"


def test_classes() -> None:
    support = support_of("envoy.config.bootstrap.v3.Bootstrap")
    assert support is not None
    assert support.class_of("node") is FieldClass.DONE
    assert support.class_of("perf_tracing_file_path") is FieldClass.ACCEPTED
    assert support.class_of("application_log_config") is FieldClass.REFUSED
    assert support_of("envoy.type.v3.Percent") is None


def test_extensions() -> None:
    assert is_extension("envoy.extensions.filters.http.router.v3.Router")
    assert not is_extension("envoy.config.core.v3.Node")


def test_main_writes_and_checks_the_document(tmp_path: Path) -> None:
    target = tmp_path / "out.md"
    assert compatibility.main(["--check", str(target)]) == 1
    assert compatibility.main([str(target)]) == 0
    assert target.read_text() == compatibility.render()
    assert compatibility.main(["--check", str(target)]) == 0
