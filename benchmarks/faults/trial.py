"""One trial: a command in a process of its own, with a time limit, and how it ended."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.patience import outputs

LIMIT_S = 60.0
_PROPER = {0, 1, 2, 3}
_MAX_BYTES = 2 << 30
COMMAND = (sys.executable, "-P", "-c", "import sys; from kdbench.cli.main import main; sys.exit(main())")
"""What runs kdbench; its arguments follow."""


# What a trial may find, by words that its description then has; everything else is OTHER.
KINDS = {
    "exits 4": ("exit 4", "exit code 4", "uncaught"),
    "hangs": ("hang", "did not end", "did not finish", "not done after"),
    "leftovers": ("left ", "workers alive"),
    "overlaps": ("both measured",),
    "injections": ("is in it", "HTML:", "html_inline", "link_open", "a link", "an image", "scripts", "a formula",
                   "a row is broken", "not XML", "ran ", "a foreign file was changed", "foreign lines",
                   "a command to CI"),
}  # fmt: skip
OTHER = "other"


def kind_of(description: str) -> str:
    """Return which kind of fault a description is about."""
    return next((kind for kind, words in KINDS.items() if any(word in description for word in words)), OTHER)


@dataclass(frozen=True)
class Trial:
    """What was tried, and what was wrong with how it ended; `found` is empty if nothing was."""

    block: str
    what: str
    outcome: str
    found: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (None: it ran beyond the limit), what it wrote, its most memory if known."""

    code: int | None
    output: str
    errors: str
    peak_bytes: int = 0

    @property
    def outcome(self) -> str:
        """The ending in a word or two."""
        return "hang" if self.code is None else f"exit {self.code}"

    @property
    def found(self) -> tuple[str, ...]:
        """What is wrong with the ending itself."""
        wrong = [] if self.code in _PROPER else [f"{self.outcome}: {self.errors.strip()[-300:]}"]
        if self.code == 3 and "error: " not in self.errors:
            wrong.append("exit 3 without a message")
        if self.peak_bytes > _MAX_BYTES:
            wrong.append(f"{self.peak_bytes / 2**30:.1f} GiB of memory")
        return tuple(wrong)


def kdbench(arguments: Sequence[str | Path], folder: Path, limit_s: float = LIMIT_S) -> Ended:
    """Run kdbench in `folder`, in a process group of its own."""
    return run([*COMMAND, *map(str, arguments)], folder, limit_s)


def run(
    command: Sequence[str], folder: Path, limit_s: float = LIMIT_S, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command in `folder`; end the whole group where it exceeds the limit."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    output, errors, ended = outputs(process, limit_s)
    return Ended(
        process.returncode if ended else None,
        output.decode(errors="surrogateescape"),
        errors.decode(errors="surrogateescape"),
    )
