"""Benchmark and profile compressed models: accuracy, latency, MACs, size and energy, teacher to student.

`import kdbench` loads nothing heavy: a public name is imported from its module when it is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "KdbenchError": "kdbench.errors",
    "Recipe": "kdbench.recipe",
    "load_recipe": "kdbench.recipes",
    "RunRecord": "kdbench.records",
    "Measurement": "kdbench.records",
    "ModelCard": "kdbench.cards",
    "run": "kdbench.pipeline",
    "train": "kdbench.pipeline",
    "bench": "kdbench.benching",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the names are strings; ruff cannot see into the dict


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kdbench' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
