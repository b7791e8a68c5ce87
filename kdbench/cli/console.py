"""Where text goes: results to standard output, everything else to standard error.

Text from files acts neither on the terminal nor on a CI system that reads the log: unsafe characters, and the start of
such a system's commands, are escaped.
"""

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from kdbench.characters import for_log, visible, without_commands
from kdbench.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console


_WIDTH = 160  # columns of tables that no terminal shows


def open_closed_streams() -> None:
    """Let standard streams that were closed before the start lead nowhere, so that no file is opened in their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def is_rank_zero() -> bool:
    """Whether this is the only process, or rank zero of those that torchrun or srun started for one command."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def result(text: str) -> None:
    """Write a result to standard output; a reader that closes it early, such as `head`, is not an error."""
    _write_result(for_log(text))


def result_json(value: Any) -> None:
    """Write a machine-readable result to standard output."""
    from kdbench.files.storage import json_text

    _write_result(without_commands(json_text(value), r"\u{:04x}"))  # in strings alone: the value is the same


def result_drawn(renderable: Any) -> None:
    """Write a rich renderable to standard output, 160 columns wide unless it is a terminal."""
    from rich.segment import Segment, Segments

    console = drawing_console(sys.stdout)
    parts = [Segment(visible(part.text), part.style, part.control) for part in console.render(renderable)]
    with console.capture() as captured:
        console.print(Segments(parts))
    _write_result(without_commands("\n".join(line.rstrip() for line in captured.get().splitlines())))


def drawing_console(stream: TextIO) -> "Console":
    """Return rich's console for a stream: a terminal's width and colours, or 160 columns without any.

    FORCE_COLOR enables colours elsewhere, as in CI's logs; NO_COLOR (https://no-color.org) lets no escape code but
    those of a live display through, also on terminals. Set but empty, they have no effect.
    """
    from rich.console import Console

    forced, plain = (bool(os.environ.get(name)) for name in ("FORCE_COLOR", "NO_COLOR"))
    terminal = stream.isatty()
    coloured = (terminal or forced) and not plain
    return Console(
        file=stream,
        width=None if terminal else _WIDTH,
        force_terminal=terminal or coloured,
        color_system="auto" if coloured else None,
        no_color=not coloured,
    )


def say(text: str) -> None:
    """Write a line to standard error; ignore that it cannot be written.

    Work and its exit code do not depend on whether somebody reads the output.
    """
    try:
        sys.stderr.write(_encodable(for_log(text), sys.stderr) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # a full disk, a closed pipe; a closed stream
        _discard(sys.stderr)


def _write_result(text: str) -> None:
    try:
        sys.stdout.write(_encodable(text, sys.stdout) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        message = f"the result cannot be written to standard output: {error.strerror or error}"
        raise StorageError(message, "redirect it elsewhere") from error


def _discard(stream: TextIO) -> None:
    """Let a stream write to nowhere: the rest of its buffer would fail again when the interpreter closes it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _encodable(text: str, stream: TextIO) -> str:
    """Return text with the characters that the stream's encoding lacks as their codes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
