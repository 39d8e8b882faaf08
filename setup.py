"""Builds the Cython kernel: one extension module per file in src/proxeny/kernel."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

KERNEL = Path("src/proxeny/kernel")


def extensions() -> list[Extension]:
    flags = ["-O2", "-fno-strict-aliasing", "-Wno-unused-function"]
    return [
        Extension(f"proxeny.kernel.{source.stem}", [str(source)], extra_compile_args=flags)
        for source in sorted(KERNEL.glob("*.pyx"))
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        nthreads=os.cpu_count() or 1,
        include_path=["src"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "freethreading_compatible": False,
            "embedsignature": True,
        },
    )
)
