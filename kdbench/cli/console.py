"""Where text goes: results to standard output, everything else to standard error."""

import json
import os
import sys
from typing import Any


def is_rank_zero() -> bool:
    """Whether this is the only process, or rank zero of those that torchrun or srun started for one command."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def result(text: str) -> None:
    """Write a result to standard output; a reader that closes it early, such as `head`, is no error."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The rest of the buffer would fail again when the interpreter closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def result_json(value: Any) -> None:
    """Write a machine-readable result to standard output."""
    result(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def result_drawn(renderable: Any) -> None:
    """Write a rich renderable to standard output, 160 columns wide unless it is a terminal."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=160, no_color=True)
    with console.capture() as captured:
        console.print(renderable)
    result("\n".join(line.rstrip() for line in captured.get().splitlines()))


def say(text: str) -> None:
    """Write a line for the person at the terminal to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
