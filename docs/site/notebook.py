"""Write a page's Python as a notebook: docs/notebook.md becomes docs/notebook.ipynb.

    python docs/site/notebook.py

The page's text and headings are the notebook's text, blocks of Python its cells. Blocks of output are left out: the
notebook has its own once it runs. A test asserts that the notebook in the repository is the page's.
"""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "notebook.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")


def cells(page: str) -> list[dict[str, Any]]:
    """Return the cells of a page in order, in nbformat 4.5. Links to other pages keep their text alone."""
    parts, begin = [], 0
    for block in _BLOCK.finditer(page):
        parts.append(("markdown", page[begin : block.start()]))
        if block.group(1) == "python":
            parts.append(("code", block.group(2)))
        elif block.group(1):
            parts.append(("markdown", block.group()))
        begin = block.end()
    parts.append(("markdown", page[begin:]))
    stripped = [(kind, text.strip("\n")) for kind, text in parts]
    return [_cell(number, kind, text) for number, (kind, text) in enumerate(part for part in stripped if part[1])]


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    source = text if kind == "code" else _LINK.sub(r"\1", text)
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def notebook(page: str) -> str:
    """Return the notebook of a page as JSON."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells(page), "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.with_suffix(".ipynb").write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
