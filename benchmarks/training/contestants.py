"""The programs to time, each in a process of its own that is pinned to as many cores as it has threads."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

from kdbench.errors import MeasurementError
from kdbench.files import storage

ROOT = Path(__file__).resolve().parents[2]
_OUTPUT_TAIL = 2000  # characters of a failed process's output


@dataclass(frozen=True)
class Contestant:
    """One program: its name on the page, the function that measures it with its options, the package that it needs."""

    title: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: str | None = None

    def why_not(self) -> str | None:
        """Say why it cannot be timed here; None if it can."""
        if self.needs is None or util.find_spec(self.needs) is not None:
            return None
        return f"{self.needs} is not installed (pip install {self.needs})"


VIEWS = 16  # of an image in the cache of a teacher's logits
_FILLED_VIEWS = 4  # of the images of an epoch, when the filling of a cache is timed
_OURS = "benchmarks.training.ours:measure"
CONTESTANTS = {
    "plain": Contestant("plain loop, fp32", "benchmarks.training.plain:measure"),
    "torchdistill": Contestant("torchdistill, fp32", "benchmarks.training.peer:measure", needs="torchdistill"),
    "kd-32": Contestant("kdbench, cached KD, fp32", _OURS, {"learns": "logits", "views": VIEWS, "precision": "32"}),
    "kd": Contestant("kdbench, cached KD, defaults", _OURS, {"learns": "logits", "views": VIEWS}),
    "kd-compiled": Contestant(
        "kdbench, cached KD, defaults, compiled", _OURS, {"learns": "logits", "views": VIEWS, "compile": True}
    ),
    "kd-live": Contestant("kdbench, live KD, defaults", _OURS, {"learns": "logits"}),
    "hint": Contestant("kdbench, hint, defaults", _OURS, {"learns": "hint"}),
    "labels": Contestant("kdbench, cross-entropy, defaults", _OURS, {"learns": "labels"}),
    "fill": Contestant("kdbench, filling the cache", "benchmarks.training.ours:fill", {"views": _FILLED_VIEWS}),
}


def timed_here() -> dict[str, Contestant]:
    """Return those that can be timed on this machine."""
    return {name: contestant for name, contestant in CONTESTANTS.items() if contestant.why_not() is None}


def versions() -> dict[str, str]:
    """Return the versions of the packages that contestants need, and of the one that decodes the rivals' images."""
    needed = {contestant.needs for contestant in timed_here().values() if contestant.needs} | {"pillow"}
    return {name: metadata.version(name) for name in sorted(needed)}


def run(name: str, workload: Mapping[str, Any], cores: Sequence[int], folder: Path) -> dict[str, Any]:
    """Time one contestant in a fresh process; raises MeasurementError if it fails."""
    contestant = CONTESTANTS[name]
    job = {
        "function": contestant.function,
        "options": dict(contestant.options),
        "workload": dict(workload),
        "cores": [*cores],
        "folder": str(folder),
    }
    path = storage.make_folder(folder) / "job.json"
    storage.write_json(path, job)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training.block", str(path)],
        cwd=ROOT,
        # A compiler's cache of an earlier process would hide what compiling takes.
        env={**os.environ, "OMP_NUM_THREADS": str(len(cores)), "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MeasurementError(f"{name} failed: {(done.stdout + done.stderr)[-_OUTPUT_TAIL:]}")
    timing: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return timing
