"""What a sweep leaves that no time changes, and which of its results were done again."""

from pathlib import Path
from typing import Any

from benchmarks.faults.blocks.resume import results
from kdbench.results.metrics import METRICS

Marks = dict[str, tuple[int, int]]
"""Inode and time of files: one that is written again has others."""


def lasting(out: Path) -> dict[Any, Any]:
    """Return weights and curves by file, and by model, metric and axes the numbers that no time changes."""
    contents: dict[Any, Any] = {}
    for key, value in results(out).items():
        if key == "measurements":
            contents |= {
                (model, metric, str(sorted(axes.items()))): number
                for model, metric, axes, number in value
                if not METRICS[metric].hardware_dependent
            }
        elif key != "models":
            contents[key] = value
    return contents


def differences(actual: dict[Any, Any], expected: dict[Any, Any]) -> list[str]:
    """Return what differs, a few of it."""
    return [f"{key} differs" for key in actual.keys() | expected.keys() if actual.get(key) != expected.get(key)][:5]


def marks(out: Path) -> Marks:
    """Return the marks of the trainings, exports and measurements that are complete."""
    patterns = ("checkpoints/*/training.json", "checkpoints/*/export.json", "parts/*/part.json")
    stats = {str(path.relative_to(out)): path.stat() for pattern in patterns for path in out.glob(pattern)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def done_again(standing: Marks, out: Path, *, names: bool = True) -> list[str]:
    """Return what was written again; without `names` also under another name."""
    now = marks(out)
    if names:
        return [f"{name} was done again" for name, mark in standing.items() if now.get(name) != mark]
    present = {*now.values()}
    return [f"{name} was done again" for name, mark in standing.items() if mark not in present]
