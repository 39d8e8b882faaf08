"""Builds the extension modules: the Cython kernel, and the hot Python modules that have a ``.pxd`` beside them.

A module with a sibling ``.pxd`` is ordinary Python; the ``.pxd`` gives its classes C attributes and C calls (measured:
docs/architecture.md, "Compiled modules"). It compiles with Python's own rules for indices and division.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCE = Path("src")
KERNEL = SOURCE / "proxeny/kernel"
FLAGS = ["-O2", "-fno-strict-aliasing", "-Wno-unused-function"]
COMMON = {"language_level": 3, "initializedcheck": False, "freethreading_compatible": False}
KERNEL_RULES = {**COMMON, "embedsignature": True, "boundscheck": False, "wraparound": False, "cdivision": True}
PYTHON_RULES = {**COMMON, "annotation_typing": False, "auto_pickle": False}


LIBRARIES = {"http2": ["nghttp2"], "tls": ["ssl", "crypto"]}
"""What a module of the kernel, or one whose name begins so, is linked with."""

MAPS = sorted((SOURCE / "proxeny").rglob("*.pxd"))


def extension(source: Path) -> Extension:
    """The extension module of one source file."""
    name = ".".join(source.relative_to(SOURCE).with_suffix("").parts)
    linked = LIBRARIES.get(source.stem.partition("_")[0], []) if source.parent == KERNEL else []
    return Extension(
        name, [str(source)], libraries=linked, extra_compile_args=FLAGS, depends=[str(path) for path in MAPS]
    )


def kernel() -> list[Extension]:
    """One module per file of the kernel."""
    return [extension(source) for source in sorted(KERNEL.glob("*.pyx"))]


def compiled_modules() -> list[Extension]:
    """The Python modules with a map of types beside them."""
    return [extension(path.with_suffix(".py")) for path in MAPS if path.with_suffix(".py").exists()]


def map_changed(extensions: list[Extension]) -> bool:
    """Whether a map is newer than some translation: modules share the layout of classes, so all are made anew."""
    made = [path.stat().st_mtime for item in extensions if (path := Path(item.sources[0]).with_suffix(".c")).exists()]
    return bool(made) and max(path.stat().st_mtime for path in MAPS) > min(made)


def cythonized(extensions: list[Extension], directives: dict[str, object]) -> list[Extension]:
    """Translated to C."""
    return cythonize(
        extensions,
        nthreads=os.cpu_count() or 1,
        include_path=[str(SOURCE)],
        compiler_directives=directives,
        force=map_changed(extensions),
    )


setup(ext_modules=cythonized(kernel(), KERNEL_RULES) + cythonized(compiled_modules(), PYTHON_RULES))
