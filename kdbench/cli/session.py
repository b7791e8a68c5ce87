"""One invocation of the command line: what was typed, and where its work is kept."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import typer


@dataclass
class Session:
    """What a command knows of its own invocation.

    `arguments` are those after the program's name; `folder` is where the work is kept, once that is known;
    `resumable` is set by commands that have `--resume`.
    """

    arguments: tuple[str, ...] = ()
    folder: Path | None = None
    resumable: bool = False

    @classmethod
    def of(cls, context: typer.Context) -> Self:
        """Return the session that a command runs in."""
        assert isinstance(context.obj, cls)
        return context.obj

    @property
    def json(self) -> bool:
        """Whether the user asked for machine-readable output; true for command lines that do not parse, too."""
        return "--json" in self.arguments

    @property
    def command(self) -> str:
        """The command line that does the same from the start: as typed, without `--resume`."""
        return shlex.join(("kdbench", *(word for word in self.arguments if word != "--resume")))

    def how_to_resume(self) -> str:
        """Return what an interrupted user should know, in one sentence."""
        if not self.resumable:
            return "nothing is kept of an interrupted measurement; run the same command again"
        arguments = list(self.arguments)
        named = any(word == "--out" or word.startswith("--out=") for word in arguments)
        if self.folder is not None and not named:
            arguments += ["--out", str(self.folder)]
        if "--resume" not in arguments:
            arguments.append("--resume")
        return f"go on with: {shlex.join(('kdbench', *arguments))}"
