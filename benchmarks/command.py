"""Commands that an experiment runs to their end."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.errors import MeasurementError

ROOT = Path(__file__).resolve().parents[1]
_LAST_CHARACTERS = 500


def run_command(
    name: str,
    command: Sequence[str | Path],
    *,
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    allowed: Sequence[int] = (0,),
) -> "subprocess.CompletedProcess[str]":
    """Run a command in `folder`, with more `variables` in its environment, and return how it ended.

    Raises MeasurementError, with its `name` and the end of what it says, if its exit code is not `allowed`.
    """
    words = [str(word) for word in command]
    environment = {**os.environ, **(variables or {})}
    ended = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode not in allowed:
        raise MeasurementError(f"{name} ended with exit code {ended.returncode}: {ended.stderr[-_LAST_CHARACTERS:]}")
    return ended
