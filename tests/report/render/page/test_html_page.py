"""`report.html` in a real browser: it sorts, copies, prints, can be used by keyboard, and asks for nothing."""

import csv
import io
import itertools

import numpy as np
import pytest

from kdbench.report import Content
from kdbench.report.render.html import render
from kdbench.report.tables.summary import summary

TAB, ENTER = ("Tab", 9, ""), ("Enter", 13, "\r")
RNG = np.random.default_rng(0)

# What is tested of one table: its rows' first words, and the values of one column in the order that is shown.
COLUMN = """
    (([table, head]) => {
        const index = [...table.tHead.rows[0].cells].indexOf(head);
        return [...table.tBodies[0].rows].map((row) => row.cells[index].dataset.value ?? null);
    })(%s)
"""
FIND = """
    (() => {
        const table = [...document.querySelectorAll("table")].find((each) => each.caption.textContent === "%s");
        return [table, [...table.tHead.rows[0].cells].find((each) => each.textContent === "%s")];
    })()
"""
HEAD = FIND % ("Summary", "Avg. latency")
# Heads that take more lines than they have words: some word is broken.
BROKEN_HEADS = """[...document.querySelectorAll("thead th")].filter((head) => {
    const range = document.createRange();
    range.selectNodeContents(head);
    const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.bottom))).size;
    return lines > head.textContent.trim().split(/[ -]/).length;
}).map((head) => head.textContent)"""
COPY_SUMMARY = f"{FIND % ('Summary', 'Model')}[0].parentElement.previousElementSibling.firstChild"


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture
def path(sample, made, tmp_path_factory):
    """The sample's page with a model that has no latency, drawn once; a record of what is not there sorts last."""
    if "path" not in made:
        measurements = [
            m.model_copy(update={"value": None, "interval": None, "status": "error", "reason": "killed, by signal 9"})
            if m.model == "student-alone" and m.metric.startswith("latency_")
            else m
            for m in sample.measurements
        ]
        made["record"] = sample.model_copy(update={"measurements": tuple(measurements)})
        samples = {"teacher/cpu-t1-b1/ns": RNG.lognormal(14, 0.1, 1000).astype(np.int64)}
        made["path"] = tmp_path_factory.mktemp("page") / "report.html"
        made["path"].write_text(render(Content(made["record"], samples=samples)), encoding="utf-8")
    return made["path"]


def column(page):
    values = page.evaluate(COLUMN % HEAD)
    return [None if value is None else float(value) for value in values]


def sorts(page):
    return page.evaluate(f"{HEAD}[1].getAttribute('aria-sort')")


def status(page):
    return page.evaluate(
        "new Promise((resolve) => setTimeout(() => resolve(document.getElementById('status').textContent), 100))"
    )


def test_it_opens_without_a_complaint_and_asks_for_nothing_else(page, path):
    page.open(path)
    assert page.complaints() == []
    assert page.requested() == [path.as_uri()]
    assert page.evaluate("document.querySelectorAll('svg[role=img]').length") == 5


def test_complaints_and_requests_would_be_seen(page, path, tmp_path):
    text = path.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("</main>", '<img src="https://example.org/x.png" alt=""><script>1</script></main>'))
    page.open(broken)
    assert sum("Content Security Policy" in complaint for complaint in page.complaints()) >= 2


def test_heads_sort_by_value_and_what_is_missing_comes_last(page, path):
    page.open(path)
    before = column(page)
    known = sorted(value for value in before if value is not None)
    assert before.count(None) == 1
    assert before[-1] is not None
    page.evaluate(f"{HEAD}[1].querySelector('button').click()")
    assert column(page) == [*known, None]
    assert sorts(page) == "ascending"
    page.evaluate(f"{HEAD}[1].querySelector('button').click()")
    assert column(page) == [*known[::-1], None]
    assert sorts(page) == "descending"
    assert status(page) == "Sorted by Avg. latency, descending"
    page.evaluate(f"{FIND % ('Summary', 'Model')}[1].querySelector('button').click()")
    assert sorts(page) is None
    names = page.evaluate(f"[...{HEAD}[0].tBodies[0].rows].map((row) => row.cells[0].textContent)")
    assert names == sorted(names)


def test_the_keyboard_alone_reaches_and_uses_it(page, path):
    page.open(path)
    page.press(*TAB)
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.press(*ENTER)
    assert page.evaluate("location.hash") == "#report"
    for _ in range(40):
        page.press(*TAB)
        if page.evaluate(f"document.activeElement === {HEAD}[1].querySelector('button')"):
            break
    assert page.evaluate(f"document.activeElement === {HEAD}[1].querySelector('button')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(*ENTER)
    assert sorts(page) == "ascending"


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("clipboard", ["there", "refused", "absent"])
def test_a_table_is_copied_with_its_values(page, path, made, clipboard):
    page.open(path)
    page.evaluate(
        "globalThis.taken = []; document.execCommand = () => { taken.push(document.activeElement.value); return true; }"
    )
    clipboards = {
        "there": "{writeText: async (text) => { taken.push(text); }}",
        "refused": "{writeText: async () => { throw new Error('no'); }}",
        "absent": "undefined",
    }
    page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{value: {clipboards[clipboard]}}})")
    page.evaluate(f"{COPY_SUMMARY}.click()")
    assert status(page) == "Copied Summary as CSV"
    (text,) = page.evaluate("taken")
    heads, *rows = rows_of(text)
    table = summary(made["record"])
    assert heads[:4] == ["Model", "Top-1 [share]", "Top-1 [share], low", "Top-1 [share], high"]
    place = heads.index("Avg. latency [ns]")
    for row, shown in zip(rows, table.rows, strict=True):
        top1, latency = shown.cells[1], shown.cells[3]
        assert row[0] == shown.cells[0].text
        bounds = top1.interval.low, top1.interval.high
        assert [float(field) for field in row[1:4]] == pytest.approx([top1.value, *bounds], rel=1e-9)
        if latency.value is None:
            assert row[place] == "n/a (killed, by signal 9)"
        else:
            assert float(row[place]) == pytest.approx(latency.value, rel=1e-9)


def test_where_nothing_can_be_copied_the_text_is_shown_to_be_copied_by_hand(page, path):
    page.open(path)
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false"
    )
    page.evaluate(f"{COPY_SUMMARY}.click()")
    assert status(page) == "Summary: copy the marked text"
    assert page.evaluate("document.querySelector('textarea').value").startswith("Model,Top-1 [share]")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"


def test_it_prints_on_pages_with_everything_opened(page, path):
    page.open(path)
    page.evaluate("document.querySelector('details').ownerDocument.title = 'printed'")
    printed = page.pdf()
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 3
    page.media(media="print")
    widths = "[document.documentElement.scrollWidth, innerWidth]"
    page.resize(700, 900)
    needed, there = page.evaluate(widths)
    assert needed <= there
    assert page.evaluate(
        "[...document.querySelectorAll('.wide')].every((box) => box.scrollWidth <= box.clientWidth + 1)"
    )
    assert page.evaluate("getComputedStyle(document.querySelector('pre code')).whiteSpace") == "pre-wrap"
    assert page.evaluate(BROKEN_HEADS) == []
    assert page.evaluate("[...document.querySelectorAll('nav, .tools')].every((each) => !each.checkVisibility())")
    assert page.evaluate("document.querySelector('details table').getBoundingClientRect().height") > 0


def test_printed_values_keep_to_one_line_and_titles_to_their_tables(page, path):
    page.open(path)
    page.media(media="print")
    page.resize(700, 900)
    broken = """[...document.querySelectorAll("td.number > :is(span, strong)")].filter((each) => {
        const range = document.createRange();
        range.selectNodeContents(each);
        return each.textContent.length < 16 && range.getClientRects().length > 1;
    }).map((each) => each.textContent)"""
    assert page.evaluate(broken) == []
    # A title that is not broken takes the room of the first rows with it to the next page.
    alone = """[...document.querySelectorAll(".wide")].filter((box) => {
        const row = box.querySelector("tbody tr:nth-child(2)");
        const title = [box.previousElementSibling, box.previousElementSibling?.previousElementSibling]
            .find((each) => each?.matches("h2, h3"));
        return row && title && title.getBoundingClientRect().bottom < row.getBoundingClientRect().top;
    }).map((box) => box.getAttribute("aria-labelledby"))"""
    assert page.evaluate(alone) == []
    # Two figures of the usual shape, with their titles and captions, fit on a page of A4: 269 mm between its margins.
    heights = "[...document.querySelectorAll('figure')].map((each) => each.getBoundingClientRect().height * 25.4 / 96)"
    assert sum(sorted(page.evaluate(heights))[:2]) < 269


def test_it_can_be_read_without_a_script(page, path):
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.open(path)
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate("document.querySelectorAll('button').length") == 0
    text = page.evaluate("document.body.innerText")
    assert all(word in text for word in ("Verdict", "student-kd", "Student against teacher", "How to reproduce it"))


def test_nothing_sticks_out_and_everything_can_be_hit(page, path):
    page.open(path)
    small = """[...document.querySelectorAll('button, summary, nav a')].filter((each) => each.checkVisibility())
        .filter((each) => each.getBoundingClientRect().height < 20).map((each) => each.outerHTML)"""
    for scheme, width in itertools.product(("light", "dark"), (320, 400, 1280)):
        page.media(scheme=scheme)
        page.resize(width, 800)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, width)
        assert page.evaluate(small) == [], (scheme, width)


def test_on_a_narrow_screen_each_table_scrolls_and_a_cut_edge_has_a_shadow(page, path):
    page.resize(390, 800)
    page.open(path)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("[...document.querySelectorAll('table')].every((each) => each.parentElement.matches('.wide'))")
    wide = "[...document.querySelectorAll('.wide')].filter((box) => box.scrollWidth > box.clientWidth)"
    assert page.evaluate(f"{wide}.length") > 2
    # Covers of the paper's colour scroll along (local) and hide the shadows, which stay, at an end.
    layers = f"[...new Set({wide}.map((box) => getComputedStyle(box).backgroundAttachment))]"
    assert page.evaluate(layers) == ["local, local, scroll, scroll"]


def test_figures_follow_the_scheme(page, path):
    page.open(path)
    ink = "getComputedStyle(document.querySelector('svg text')).fill"
    page.media(scheme="light")
    light = page.evaluate(ink)
    page.media(scheme="dark")
    assert page.evaluate(ink) != light
