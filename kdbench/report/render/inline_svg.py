"""Figures as parts of one HTML page: ids that do not clash, colours that are the page's, and little of it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.report.figures.drawing import COLOURS, GREY, GRID, Drawing

if TYPE_CHECKING:
    from markupsafe import Markup

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_PIXELS = 4 / 3  # CSS pixels in a point

_INK, *_SERIES = (colour.lower() for colour in COLOURS)
# What the page's style sheet calls the colours of figures, in light and dark.
VARIABLES: Mapping[str, str] = {
    "#ffffff": "--paper",
    _INK: "--ink",
    GREY.lower(): "--figure-axis",
    GRID.lower(): "--figure-grid",
    **{colour: f"--series-{number}" for number, colour in enumerate(_SERIES, 1)},
}
_AS_TEXT = "-text"  # the same colour, with the contrast that words need

_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_DECIMALS = re.compile(r"-?\d+\.\d+")
_NO_ROTATION = re.compile(r"rotate\(-?0 [^)]*\)")
_REFERENCE = re.compile(r'(?:url\(|href=")#([^)"]+)')
_GEOMETRY = ("d", "x", "y")


@dataclass(frozen=True)
class Inlined:
    """Figures by name, ready to stand in a page, and the style rules of their classes."""

    svgs: "Mapping[str, Markup]"
    css: str


def inline(drawings: Iterable[Drawing]) -> Inlined:
    """Return the figures as elements that one page can hold together.

    What is not shown is left out, coordinates are rounded to a hundredth of a point, and equal styles become one
    class: a policy that forbids inline styles can then stand, and a figure takes a third of the room of its file.
    """
    from markupsafe import Markup

    classes: dict[str, str] = {}
    # The figures were drawn here; what of them comes from a record is text, which ElementTree escapes.
    svgs = {drawing.name: Markup(_svg(drawing, classes)) for drawing in drawings}  # noqa: S704
    return Inlined(svgs, "\n".join(f".{name} {{ {style} }}" for style, name in classes.items()))


def _svg(drawing: Drawing, classes: dict[str, str]) -> str:
    root = ET.fromstring(drawing.svg)  # noqa: S314  # our own, not somebody's file
    *_, width, height = (float(side) for side in root.attrib["viewBox"].split())
    ids = {old: f"{drawing.name}-{number}" for number, old in enumerate(dict.fromkeys(_REFERENCE.findall(drawing.svg)))}
    shown = _pruned(root)
    for node in shown.iter():
        node.tag = node.tag.removeprefix(_SVG)
        node.tail = None
        if node.tag not in {"text", "tspan"}:
            node.text = None
        node.attrib = _attributes(node, ids, classes)
    shown.attrib = {
        "class": "drawing",
        "viewBox": f"0 0 {width:g} {height:g}",
        "width": f"{_PIXELS * width:.0f}",
        "height": f"{_PIXELS * height:.0f}",
        "role": "img",
        "aria-labelledby": f"figure-{drawing.name}-title",
        "aria-describedby": f"figure-{drawing.name}-caption",
    }
    return ET.tostring(shown, encoding="unicode")


def _pruned(node: ET.Element) -> ET.Element:
    """Return a node without metadata and style sheets, and without groups that only group."""
    kept = []
    for child in node:
        if child.tag in {f"{_SVG}metadata", f"{_SVG}style"}:
            continue
        pruned = _pruned(child)
        bare = child.tag in {f"{_SVG}g", f"{_SVG}defs"} and not (set(child.attrib) - {"id"})
        if bare and (not len(pruned) or child.tag == f"{_SVG}g"):
            kept += list(pruned)
        else:
            kept.append(pruned)
    node[:] = kept
    return node


def _attributes(node: ET.Element, ids: Mapping[str, str], classes: dict[str, str]) -> dict[str, str]:
    """Return a node's attributes as the page has them; new styles are entered in `classes`."""
    found: dict[str, str] = {}
    for name, value in node.attrib.items():
        if name == "id":
            found |= {"id": ids[value]} if value in ids else {}
        elif name == "style":
            style = _style(value, words=node.tag in {"text", "tspan"})
            found |= {"class": classes.setdefault(style, f"f{len(classes)}")} if style else {}
        elif name == _HREF:
            found["href"] = value if value.startswith("data:") else f"#{ids[value.removeprefix('#')]}"
        elif name == "clip-path":
            found[name] = f"url(#{ids[value[5:-1]]})"
        elif name in _GEOMETRY:
            found[name] = " ".join(_DECIMALS.sub(_rounded, value).split())
        elif name == "transform":
            found |= {name: left} if (left := _NO_ROTATION.sub("", value).strip()) else {}
        else:
            found[name] = value
    return found


def _style(style: str, *, words: bool) -> str:
    """Return a style with the page's colours and font; `words` need more contrast than lines do."""

    def variable(colour: re.Match[str]) -> str:
        name = VARIABLES.get(colour[0])
        if name is None:
            return colour[0]
        return f"var({name}{_AS_TEXT if words and name.startswith('--series') else ''})"

    return _COLOUR.sub(variable, _FONT.sub("", style)).strip("; ")


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
