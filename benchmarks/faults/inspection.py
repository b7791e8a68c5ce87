"""What is wrong with files that should show names as text, by parsers that kdbench does not use."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import yaml
from markdown_it import MarkdownIt

_GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_OWN_HTML = re.compile(r"</?details>|<summary>[^<>]*(<code>[^<>]*</code>[^<>]*)*</summary>|\s")
_TURNED = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_ACTIVE = re.compile(r"(?<!\w)@\w|\w@\w+\.\w|://|www\.|(?<!\w)#\d")
# GitHub's runner, Azure's agent and TeamCity, in the order of the alternatives, as their sources read a line.
_COMMAND = re.compile(r"\s*::.*::|.*##\[|.*##vso\[|.*##teamcity\[")
_BINARY = {".onnx", ".npz", ".npy", ".safetensors"}
_KEPT = 60  # characters of what is wrong


def problems(folder: Path) -> list[str]:
    """Return what is wrong with each file below `folder`."""
    by_suffix = {".md": _markdown, ".html": _html, ".csv": _csv, ".svg": _xml, ".xml": _xml, ".json": _json}
    faults = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in _BINARY):
        text = path.read_bytes().decode()
        faults += [f"{path.name}: {one}" for one in unsafe(text)]
        faults += [f"{path.name}: {one}" for one in by_suffix.get(path.suffix, lambda _: iter(()))(text)]
    return faults


def unsafe(text: str) -> list[str]:
    """Return the characters that act on what shows them."""
    acting = {c for c in text if c not in "\n\t" and (unicodedata.category(c) in {"Cc", "Cs"} or c in _TURNED)}
    return [f"U+{ord(character):04X} is in it" for character in sorted(acting)]


def unsafe_in_log(text: str) -> list[str]:
    """Return what acts on the terminal that shows a text, or on a CI system that reads it as a log."""
    commands = (line for line in text.split("\n") if _COMMAND.match(line))
    return [*unsafe(text), *(f"a command to CI: {line.strip()[:_KEPT]!r}" for line in commands)]


def _markdown(text: str) -> Iterator[str]:
    if text.startswith("---\n"):  # a head of YAML, as model cards have
        head, _, text = text[4:].partition("\n---\n")
        if not isinstance(yaml.safe_load(head), dict):
            yield "the head is no table of YAML"
    for token in _GITHUB.parse(text):
        if token.type == "html_block" and _OWN_HTML.sub("", token.content):
            yield f"HTML: {token.content[:_KEPT]!r}"
        for part in token.children or []:
            if part.type in {"html_inline", "link_open"}:
                yield f"{part.type}: {part.content or part.attrs}"
            if part.type == "image" and not re.fullmatch(r"figures/[\w.-]+\.svg", str(part.attrs["src"])):
                yield f"an image: {part.attrs['src']}"
            if part.type == "text" and (active := _ACTIVE.search(part.content)):
                yield f"a link or a mention: {active[0]!r}"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.scripts += tag == "script"
        if tag in {"img", "iframe", "object", "form", "base"} or any(name.startswith("on") for name in known):
            self.found.append(f"<{tag} {known}>"[:_KEPT])
        if tag == "a" and not str(known.get("href")).startswith("#"):
            self.found.append(f"a link: {known.get('href')}")


def _html(text: str) -> Iterator[str]:
    page = _Page()
    page.feed(text)
    yield from page.found
    if page.scripts != 1:
        yield f"{page.scripts} scripts"


def _csv(text: str) -> Iterator[str]:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if len({len(row) for row in rows}) > 1 or len(rows) != text.count("\n"):
        yield "a row is broken"
    for cell in {cell for row in rows for cell in row}:
        if cell.lstrip(" \t\"'")[:1] in {"=", "+", "-", "@"} and not cell.startswith("'") and not _is_number(cell):
            yield f"a formula: {cell[:_KEPT]!r}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "-"
    return True


def _json(text: str) -> Iterator[str]:
    try:
        json.loads(text)
    except ValueError as error:
        yield f"not JSON: {error}"


def _xml(text: str) -> Iterator[str]:
    try:
        ET.fromstring(text)
    except ET.ParseError as error:
        yield f"not XML: {error}"
