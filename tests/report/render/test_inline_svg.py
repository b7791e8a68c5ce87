"""Figures inside a page: ids of their own, the page's colours, and the contrast that these have in both schemes."""

import re

import pytest

from kdbench.report import Content
from kdbench.report.render.html import render
from kdbench.report.render.inline_svg import VARIABLES, inline


def sheet(record):
    """Return the style sheet of a record's page."""
    return re.search(r"<style>(.*?)</style>", render(Content(record)), re.DOTALL)[1]


def colours(text):
    """Return the colours of the light and of the dark scheme, by variable."""
    light, dark = (
        dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    )
    return {"light": light, "dark": {**light, **dark}}, light, dark


def luminance(colour):
    """Return the relative luminance (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_have_the_contrast_that_eyes_need(sample, scheme):
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # a known pair
    schemes, light, dark = colours(sheet(sample))
    assert set(dark) == set(light)
    known = schemes[scheme]
    words = {"--ink", "--quiet", "--link", *(name for name in known if name.endswith("-text"))}
    for name in words:
        assert contrast(known[name], known["--paper"]) >= 4.5, name
    for name in ("--ink", "--quiet", "--link"):
        assert contrast(known[name], known["--raised"]) >= 4.5, name
    for name in ("good", "bad", "open"):
        assert contrast(known[f"--{name}"], known["--paper"]) >= 4.5, name
        assert contrast(known[f"--{name}"], known[f"--{name}-ground"]) >= 4.5, name
        assert contrast(known["--ink"], known[f"--{name}-ground"]) >= 4.5, name
    lines = {"--border", "--focus", "--figure-axis", *(n for n in known if re.fullmatch(r"--series-\d", n))}
    for name in lines:
        assert contrast(known[name], known["--paper"]) >= 3, name


def test_every_colour_of_the_figures_is_one_of_the_pages(sample):
    _, light, _ = colours(sheet(sample))
    assert {*VARIABLES.values()} <= set(light)
    svgs, css = inline(Content(sample).drawings)
    assert not any("style=" in svg for svg in svgs.values())
    lines = [line for line in css.splitlines() if "#" in line]
    assert all("#1f77b4" in line for line in lines)  # the fill of caps, which have no area


def test_a_figure_in_the_page_is_a_fraction_of_its_file(sample):
    drawings = Content(sample).drawings
    for drawing in drawings:
        assert len(inline([drawing])[0][drawing.name]) < 0.5 * len(drawing.svg)


def test_figures_keep_their_words_and_where_they_stand(sample):
    for drawing in Content(sample).drawings:
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)
        assert re.findall(r"<text[^>]*>([^<]*)</text>", inline([drawing])[0][drawing.name]) == texts


def test_ids_are_unique_across_figures(sample):
    drawings = Content(sample).drawings
    svgs, _ = inline(drawings)
    ids = {name: set(re.findall(r' id="([^"]+)"', svg)) for name, svg in svgs.items()}
    assert sum(map(len, ids.values())) == len(set().union(*ids.values())) > len(ids)
    for name, svg in svgs.items():
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) == ids[name]
