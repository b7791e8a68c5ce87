"""Examples in docstrings as code: an extension of griffe, which reads the package for mkdocstrings.

Without it, Markdown takes `>>>` at the begin of a line for quotations in quotations.
"""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^([ ]*)>>> .*\n?(?:[ ]*\S.*\n?)*", re.MULTILINE)


def fenced(docstring: str) -> str:
    """Return a docstring with its examples, which end at an empty line, in fences."""

    def block(match: re.Match[str]) -> str:
        indent = len(match.group(1))
        lines = [line[indent:] for line in match.group().rstrip("\n").splitlines()]
        end = "\n" if match.group().endswith("\n") else ""
        return "\n".join(["```pycon", *lines, "```"]) + end

    return _EXAMPLE.sub(block, docstring)


class FencedExamples(griffe.Extension):
    """Fences the examples of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
