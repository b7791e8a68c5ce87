"""Figures inside one HTML page: unique ids, the page's colours, and small."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

from markupsafe import Markup

from kdbench.report.figures.drawing import COLOURS, GREY, GRID, Drawing

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_PIXELS = 4 / 3  # CSS pixels in a point

_INK, *_SERIES = (colour.lower() for colour in COLOURS)
# The CSS variables of the figures' colours, in light and dark mode.
VARIABLES: Mapping[str, str] = {
    "#ffffff": "--paper",
    _INK: "--ink",
    GREY.lower(): "--figure-axis",
    GRID.lower(): "--figure-grid",
    **{colour: f"--series-{number}" for number, colour in enumerate(_SERIES, 1)},
}
_AS_TEXT = "-text"  # the same colour with the contrast that text needs

_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_DECIMALS = re.compile(r"-?\d+\.\d+")
_NO_ROTATION = re.compile(r"rotate\(-?0 [^)]*\)")
_REFERENCE = re.compile(r'(?:url\(|href=")#([^)"]+)')
_GEOMETRY = ("d", "x", "y")


def inline(drawings: Iterable[Drawing]) -> tuple[dict[str, Markup], str]:
    """Return the figures by name, as elements that can share a page, and the style rules of their classes.

    Invisible parts are dropped, coordinates are rounded to a hundredth of a point, and equal styles become one class.
    The page then needs no inline styles, and a figure has a third of its file's size.
    """
    classes: dict[str, str] = {}
    # The figures are our own; text from a record in them is escaped by ElementTree.
    svgs = {drawing.name: Markup(_svg(drawing, classes)) for drawing in drawings}  # noqa: S704
    return svgs, "\n".join(f".{name} {{ {style} }}" for style, name in classes.items())


def _svg(drawing: Drawing, classes: dict[str, str]) -> str:
    root = ET.fromstring(drawing.svg)  # noqa: S314  # our own SVG
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
    """Return a node without metadata, style sheets and groups without attributes."""
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
    """Return a node's attributes for the page; new styles are added to `classes`."""
    attributes: dict[str, str] = {}
    for name, value in node.attrib.items():
        if name == "id":
            attributes |= {"id": ids[value]} if value in ids else {}
        elif name == "style":
            style = _style(value, words=node.tag in {"text", "tspan"})
            attributes |= {"class": classes.setdefault(style, f"f{len(classes)}")} if style else {}
        elif name == _HREF:
            attributes["href"] = value if value.startswith("data:") else f"#{ids[value.removeprefix('#')]}"
        elif name == "clip-path":
            attributes[name] = f"url(#{ids[value[5:-1]]})"
        elif name in _GEOMETRY:
            attributes[name] = " ".join(_DECIMALS.sub(_rounded, value).split())
        elif name == "transform":
            attributes |= {name: rest} if (rest := _NO_ROTATION.sub("", value).strip()) else {}
        else:
            attributes[name] = value
    return attributes


def _style(style: str, *, words: bool) -> str:
    """Return a style with the page's colours and font; `words` get more contrast than lines."""

    def variable(colour: re.Match[str]) -> str:
        name = VARIABLES.get(colour[0])
        if name is None:
            return colour[0]
        return f"var({name}{_AS_TEXT if words and name.startswith('--series') else ''})"

    return _COLOUR.sub(variable, _FONT.sub("", style)).strip("; ")


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
