"""Where the headers, the library and the CMake files for programs in C++ and C are."""

from __future__ import annotations

from pathlib import Path

__all__ = ["get_cmake_dir", "get_include"]

PACKAGE = Path(__file__).parent


def get_include() -> str:
    """Return the folder of the headers, for ``-I``; the library lies in ``../lib`` from there.

    Returns
    -------
    str
        It holds ``grokflow/grokflow.hpp`` (C++, with Eigen) and ``grokflow/grokflow.h`` (C, without).

    Raises
    ------
    FileNotFoundError
        If this grokflow runs from its sources, in place: only a package that is installed has a library.
    """
    return existing(PACKAGE / "include")


def get_cmake_dir() -> str:
    """Return the folder of ``grokflowConfig.cmake``, for ``cmake -Dgrokflow_DIR=...``.

    ``python -m grokflow --cmakedir`` prints it. Builds by scikit-build-core need neither: they find the
    package by its entry point ``cmake.prefix``.

    Returns
    -------
    str

    Raises
    ------
    FileNotFoundError
        If this grokflow runs from its sources, in place.
    """
    return existing(PACKAGE / "lib" / "cmake" / "grokflow")


def existing(folder: Path) -> str:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not there: this grokflow runs from its sources, and only the package has a library "
            "for C++; install it by pip install ."
        )
    return str(folder)
