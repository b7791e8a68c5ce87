"""This installation of kdbench: its version, and the folder of its files. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["__version__", "package_folder"]

try:
    from kdbench._version import __version__  # written by the build, from the last tag
except ImportError:  # a copy of the sources that was never built
    __version__ = "0.1.0.dev0"


def package_folder() -> Path:
    """Return the folder `kdbench` that holds the package's modules."""
    from pathlib import Path

    return Path(__file__).resolve().parent
