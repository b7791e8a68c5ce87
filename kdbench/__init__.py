"""Benchmark and profile compressed models: accuracy, latency, MACs, size and energy, teacher to student.

`import kdbench` loads nothing heavy: a public name is imported from its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.errors import KdbenchError
    from kdbench.recipe import Recipe
    from kdbench.recipe.loading import load_recipe
    from kdbench.results.cards import ModelCard
    from kdbench.results.comparisons import Comparison
    from kdbench.results.records import Measurement, RunRecord
    from kdbench.results.verdicts import Verdict
    from kdbench.workflows.bench import bench
    from kdbench.workflows.run import run
    from kdbench.workflows.train import train

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "KdbenchError",
    "Measurement",
    "ModelCard",
    "Recipe",
    "RunRecord",
    "Verdict",
    "__version__",
    "bench",
    "load_recipe",
    "run",
    "train",
]

_MODULES = {
    "Comparison": "kdbench.results.comparisons",
    "KdbenchError": "kdbench.errors",
    "Measurement": "kdbench.results.records",
    "ModelCard": "kdbench.results.cards",
    "Recipe": "kdbench.recipe",
    "RunRecord": "kdbench.results.records",
    "Verdict": "kdbench.results.verdicts",
    "bench": "kdbench.workflows.bench",
    "load_recipe": "kdbench.recipe.loading",
    "run": "kdbench.workflows.run",
    "train": "kdbench.workflows.train",
}

_TRAINING = {"run", "train"}  # their modules load torch, which then reads how its threads are to wait


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kdbench' has no attribute {name!r}")
    if name in _TRAINING:
        import_module("kdbench.machine.waiting").settle_waiting()
    return getattr(import_module(_MODULES[name]), name)
