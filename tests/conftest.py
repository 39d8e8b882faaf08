"""For all tests."""

import os
from pathlib import Path

import pytest

import proxeny  # noqa: F401 - before any test imports Envoy's messages: it adds fields to them (config.newer_fields)

ROOT = Path(__file__).parent
OF_PROCESSES = ("differential", "integration", "netns")
"""Tests of whole proxies, ours and Envoy, on whatever machine they run on."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a shared CI machine a test of processes that failed runs once more, and is named at the end."""
    if os.environ.get("CI") != "true":
        return
    for item in items:
        if item.path.relative_to(ROOT).parts[0] in OF_PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1))
