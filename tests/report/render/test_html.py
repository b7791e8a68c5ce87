"""`report.html` as a document: whole, safe, offline and accessible, with everything that the Markdown says."""

import base64
import hashlib
import re
from html import unescape
from itertools import pairwise

import pytest
from report.render.outline import Outline, squeezed

from kdbench import report
from kdbench.report import Content
from kdbench.report.figures.drawing import short
from kdbench.report.render.html import render
from kdbench.report.render.markdown import render as render_md
from kdbench.report.text import markdown
from kdbench.results.verdicts import Criterion, ModelVerdict, Verdict

HOSTILE = """<script>alert("x")</script> & 'quotes' `tick"""
KINDS = ["sample", "seeded", "swept", "refused", "metered", "metered_gpu", "estimated"]


def verdict_on(record, outcome="PASS", **changes):
    criterion = Criterion(
        metric="latency_p50_ns", rule="max", limit=5e5, unit="ns", outcome=outcome, value=2.1e5, remedy="measure again"
    )
    overall = {"PASS": "READY", "FAIL": "NOT READY"}.get(outcome, "INCONCLUSIVE")
    device = Criterion(metric="device", rule="device", outcome="PASS")
    model = ModelVerdict(model="student-kd", overall=overall, criteria=(device, criterion))
    values = {
        "target": "board",
        "title": "a board",
        "run": record.name,
        "record_hash": record.hash(),
        "created": record.created,
        "overall": overall,
        "best": "student-kd" if overall == "READY" else None,
        "models": (model,),
    }
    return Verdict(**{**values, **changes})


@pytest.fixture(scope="module")
def rendered():
    """Contents, their pages and outlines by kind: made once for all tests."""
    return {}


@pytest.fixture(params=KINDS)
def kind(request, rendered):
    if request.param not in rendered:
        record = request.getfixturevalue(request.param)
        content = Content(record, (verdict_on(record),))
        page = render(content)
        rendered[request.param] = (content, page, Outline(page))
    return rendered[request.param]


@pytest.fixture
def content(kind):
    return kind[0]


@pytest.fixture
def page(kind):
    return kind[1]


@pytest.fixture
def outline(kind):
    return kind[2]


def test_every_element_is_closed_and_every_id_is_there_once(outline):
    ids = [element["id"] for element in outline.elements if "id" in element]
    assert len(ids) == len(set(ids))
    named = {
        name
        for element in outline.elements
        for attribute in ("aria-labelledby", "aria-describedby")
        for name in element.get(attribute, "").split()
    }
    linked = {href[1:] for element in outline.elements if (href := element.get("href", "")).startswith("#")}
    clipped = {path[5:-1] for element in outline.elements if (path := element.get("clip-path"))}
    assert named | linked | clipped <= set(ids)


def test_the_page_loads_nothing_and_leads_nowhere(outline, page):
    for element in outline.elements:
        for attribute in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            address = element.get(attribute, "#")
            assert address.startswith("#") or (element["tag"] == "image" and address.startswith("data:image/png;"))
    assert not outline.all("link", "iframe", "object", "embed", "form", "base")
    assert not re.search(r"url\((?!#)|@import", page)


def test_policy_allows_only_the_embedded_style_sheet_and_script(outline):
    (policy,) = [meta["content"] for meta in outline.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (element,) = outline.all(tag)
        digest = base64.b64encode(hashlib.sha256(element["text"].encode()).digest()).decode()
        assert rules[directive] == f"'sha256-{digest}'"
    assert not [
        element for element in outline.elements if "style" in element or any(k.startswith("on") for k in element)
    ]


def test_cells_say_the_same_as_in_markdown(outline, content):
    shown = outline.tables()
    superscripts = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
    for table in content.tables:
        if not table.columns:
            continue
        heads, *rows = shown[table.title]
        assert heads == [column.head for column in table.columns]
        for row, texts in zip(table.rows, rows, strict=True):
            for cell, column, text in zip(row.cells, table.columns, texts, strict=True):
                literal = markdown.cell(cell, column.intervals).replace("**", "").replace("`", "")
                assert text == re.sub(r"\\(.)", r"\1", literal).translate(superscripts)


def words_of(text):
    """Return the words and numbers of a text."""
    return {word.strip("._-") for word in re.findall(r"[\w.%×µ-]*\w[\w.%×µ-]*", text)}


def test_nothing_that_the_markdown_tells_is_missing(content, page):
    shown = unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|`[0-9a-f]{16}…`|</?\w+>|```\w*", " ", render_md(content))
    text = re.sub(r"\\(.)", r"\1", text).translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", " " * 10))
    missing = words_of(text.replace("## The run", "")) - words_of(shown)  # a heading that the page's order needs not
    assert not missing


def test_every_table_has_a_caption_and_heads_with_a_scope(outline):
    assert len(outline.all("caption")) == len(outline.all("table")) > 0
    for head in outline.all("th"):
        assert head["scope"] == ("col" if "thead" in head["inside"] else "row")
    for region in [element for element in outline.elements if element.get("role") == "region"]:
        assert region["tabindex"] == "0"
        assert region["aria-labelledby"]


def test_headings_go_down_by_one(outline):
    levels = [int(element["tag"][1]) for element in outline.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_contents_have_a_skip_link_and_list_every_section(outline):
    body = outline.elements[[element["tag"] for element in outline.elements].index("body") + 1]
    assert (body["tag"], body["class"], body["href"]) == ("a", "skip", "#report")
    assert outline.all("html")[0]["lang"] == "en"
    assert len(outline.all("main")) == 1
    assert all(nav["aria-label"] == "Contents" for nav in outline.all("nav"))
    listed = {element["href"] for element in outline.all("a") if "nav" in element["inside"]}
    assert {f"#{head['id']}" for head in outline.all("h2")} <= listed


def test_figures_have_a_name_and_a_description(outline, content):
    drawn = outline.all("svg")
    assert [element["aria-labelledby"] for element in drawn] == [f"figure-{d.name}-title" for d in content.drawings]
    assert all(element["role"] == "img" and element["aria-describedby"] for element in drawn)
    captions = [squeezed(element["text"]) for element in outline.all("figcaption")]
    assert captions == [squeezed(f"{d.title} {d.caption}".replace("`", "")) for d in content.drawings]


@pytest.mark.parametrize("outcome", ["PASS", "FAIL", "MARGINAL", "UNKNOWN"])
def test_the_verdict_comes_first_in_words(sample, outcome):
    verdict = verdict_on(sample, outcome)
    page = render(Content(sample, (verdict,)))
    assert page.index(f"{verdict.overall} for a board") < page.index('class="finding"')
    outline = Outline(page)
    assert [head["text"] for head in outline.all("h2")][:3] == ["Verdict", "Summary", "Student against teacher"]
    assert any(p["text"].startswith(f"{verdict.overall} for a board") for p in outline.all("p"))
    assert any(row[-2] == outcome for row in outline.tables()["Readiness for a board"])


def test_two_verdicts_are_both_shown(sample):
    verdicts = (verdict_on(sample), verdict_on(sample, "FAIL", target="other", title="another board"))
    tables = Outline(render(Content(sample, verdicts))).tables()
    assert {"Readiness for a board", "Readiness for another board"} <= set(tables)


def test_without_a_verdict_the_page_says_how_to_get_one(sample):
    assert "kdbench ready RUN --target" in Outline(render(Content(sample))).all("body")[0]["text"]


def test_names_and_reasons_are_shown_as_they_are_and_do_nothing(make_record, make_card):
    base = make_record()
    id_ = HOSTILE.replace("/", "")  # an id is part of a path
    card = make_card("student-kd", id=id_, name=HOSTILE, file=f"models/{HOSTILE.replace('/', '')}.onnx")
    renamed = [m.model_copy(update={"model": id_}) if m.model == "student-kd" else m for m in base.measurements]
    warning = base.warnings[0].model_copy(update={"message": HOSTILE, "remedy": HOSTILE})
    record = make_record(
        name=HOSTILE,
        title=HOSTILE,
        command=f"kdbench run {HOSTILE}",
        models=[base.models[0], card],
        measurements=[m for m in renamed if m.model in {"teacher", id_}],
        pairs=(),
        warnings=[warning],
    )
    outline = Outline(render(Content(record)))
    assert len(outline.all("script")) == 1
    assert squeezed(outline.all("h1")[0]["text"]) == HOSTILE
    assert any(row[0] == HOSTILE for row in outline.tables()["Summary"])
    assert any(short(HOSTILE) in element["text"] for element in outline.all("svg"))


def test_page_contains_no_machine_paths(page):
    assert "/home" not in page
    assert "kdbench run digits --out digits" in page


def test_values_stand_in_the_base_unit_beside_their_text(sample):
    page = render(Content(sample))
    assert '<td class="number" data-value="226000"' in page
    heads = {head["text"]: head.get("data-unit") for head in Outline(page).all("th") if head["scope"] == "col"}
    assert (heads["Avg. latency"], heads["Model size"], heads["Top-1"], heads["Speed-up"]) == (
        "ns",
        "bytes",
        "share",
        None,
    )


def test_the_page_is_one_file_and_its_figures_are_drawn_once_for_all_formats(sample, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(report, "draw", lambda *arguments: calls.append(arguments) or [])
    paths = report.write(Content(sample), tmp_path, ("md", "html"))
    assert paths == [tmp_path / "report.md", tmp_path / "report.html"]
    assert len(calls) == 1


def test_style_has_a_separate_page(sample, tmp_path):
    content = Content(sample, style="summary")
    (path,) = report.write(content, tmp_path, ("html",))
    assert path.name == "report-summary.html"
    outline = Outline(path.read_text(encoding="utf-8"))
    assert set(outline.tables()) == {table.title for table in content.tables}
    assert not any("Verdict" in head["text"] for head in outline.all("h2"))


@pytest.mark.usefixtures("drawn_anew")
def test_page_is_deterministic(sample):
    assert render(Content(sample)) == render(Content(sample))
