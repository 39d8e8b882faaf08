"""The resource monitors: what each calls pressure, and what it says when it cannot tell."""

from pathlib import Path

import pytest
from envoy.extensions.resource_monitors.cgroup_memory.v3.cgroup_memory_pb2 import CgroupMemoryConfig
from envoy.extensions.resource_monitors.fixed_heap.v3.fixed_heap_pb2 import FixedHeapConfig
from envoy.extensions.resource_monitors.injected_resource.v3.injected_resource_pb2 import InjectedResourceConfig

from proxeny.config.errors import ConfigError
from proxeny.extensions.resource_monitors import cgroup_memory, fixed_heap, injected_resource
from proxeny.network.resource_monitor import ResourceMonitor, ResourceMonitorError


def no_memory() -> int:
    return 0


def test_fixed_heap() -> None:
    monitor = fixed_heap.FACTORY.create(FixedHeapConfig(max_heap_size_bytes=1000), lambda: 250)
    assert monitor.pressure() == 0.25
    with pytest.raises(ConfigError, match=r"^fixed_heap: max heap size must be greater than 0$"):
        fixed_heap.FACTORY.create(FixedHeapConfig(), no_memory)


def injected(path: Path) -> ResourceMonitor:
    return injected_resource.FACTORY.create(InjectedResourceConfig(filename=str(path)), no_memory)


@pytest.mark.parametrize(("text", "pressure"), [("0.5", 0.5), ("1", 1.0), ("0\n", 0.0), (" 1e-1 ", 0.1)])
def test_injected_resource(tmp_path: Path, text: str, pressure: float) -> None:
    (tmp_path / "p").write_text(text)
    assert injected(tmp_path / "p").pressure() == pressure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "failed to parse injected resource pressure"),
        ("x", "failed to parse injected resource pressure"),
        ("0_5", "failed to parse injected resource pressure"),
        ("nan", "failed to parse injected resource pressure"),
        ("\u0663", "failed to parse injected resource pressure"),
        ("1-1", "failed to parse injected resource pressure"),
        ("1.1", "pressure out of range"),
        ("-0.1", "pressure out of range"),
    ],
)
def test_bad_injected_resources(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p").write_text(text, encoding="utf-8")
    with pytest.raises(ResourceMonitorError, match=words):
        injected(tmp_path / "p").pressure()


def test_a_missing_file_is_an_error_each_time(tmp_path: Path) -> None:
    monitor = injected(tmp_path / "p")
    with pytest.raises(ResourceMonitorError, match="unable to read file"):
        monitor.pressure()
    (tmp_path / "p").write_text("0.1")
    assert monitor.pressure() == 0.1


@pytest.mark.parametrize(
    ("usage", "limit", "most", "pressure"),
    [
        ("50\n", "100\n", 0, 0.5),
        ("50\n", "100\n", 200, 0.5),
        ("50\n", "100\n", 80, 0.625),
        ("50\n", "max\n", 0, 0.0),
        ("50\n", "max\n", 100, 0.5),
    ],
)
def test_cgroup_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: str, limit: str, most: int, pressure: float
) -> None:
    files = (tmp_path / "usage", tmp_path / "limit")
    monkeypatch.setattr(cgroup_memory, "VERSIONS", ((tmp_path / "none", tmp_path / "none"), files))
    monitor = cgroup_memory.FACTORY.create(CgroupMemoryConfig(max_memory_bytes=most), no_memory)
    with pytest.raises(ResourceMonitorError, match="No supported cgroup memory implementation found"):
        monitor.pressure()
    for file, text in zip(files, (usage, limit), strict=True):
        file.write_text(text)
    assert monitor.pressure() == pressure
    files[0].write_text("what")
    with pytest.raises(ResourceMonitorError, match="Unable to parse"):
        monitor.pressure()
