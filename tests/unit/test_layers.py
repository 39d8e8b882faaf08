"""Imports run one way: a package imports only packages below it (docs/architecture.md, "Layers")."""

from __future__ import annotations

import ast
from pathlib import Path

import proxeny

ROOT = Path(proxeny.__file__).parent

LAYERS = [
    {"kernel"},
    {"event"},
    {"config"},
    {"registry", "api"},
    {"matcher"},
    {"stats"},
    {"xds"},
    {"runtime"},
    {"secret"},
    {"filter_config"},
    {"network"},
    {"formatter"},
    {"access_log"},
    {"http"},
    {"pool"},
    {"upstream"},
    {"router"},
    {"rpc"},
    {"listener"},
    {"explain"},
    {"admin"},
    {"extensions"},
    {"worker", "server", "testing", "intercept", "top"},
    {"cli", "__main__", "__init__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def package_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def runtime_imports(path: Path) -> list[tuple[int, str]]:
    """``proxeny`` modules that ``path`` imports outside TYPE_CHECKING blocks, with their lines."""
    found: list[tuple[int, str]] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return [(line, name) for line, name in found if name.startswith("proxeny.")]


def test_imports_run_one_way() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        own = RANK[package_of(path)]
        for line, name in runtime_imports(path):
            if RANK[name.split(".")[1]] > own:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_package_has_a_layer() -> None:
    packages = {package_of(path) for path in ROOT.rglob("*.py")}
    assert packages <= RANK.keys()


def test_codecs_do_no_io() -> None:
    forbidden = {"socket", "asyncio", "ssl", "select", "os"}
    for path in (ROOT / "http").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert not {name.split(".")[0] for name in names} & forbidden, path
