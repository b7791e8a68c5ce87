"""The documentation site: its links, its order of pages, and the reference that is generated from the code."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(SITE)
    yield importlib.import_module("build")
    for name in ("build", "reference", "examples"):
        sys.modules.pop(name, None)


@pytest.fixture
def reference(build):
    return build.reference


@pytest.fixture
def repository(tmp_path):
    """A repository of two pages, a figure and a source file."""
    for name in ("README.md", "docs/a.md", "docs/b c.md", "reports/r/report.md", "reports/r/f.svg", "code/x.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("README.md", "docs/a.md#part", "docs/a.md#part"),
        ("docs/a.md", "../README.md", "../index.md"),
        ("docs/a.md", "b%20c.md", "b c.md"),
        ("docs/a.md", "../reports/r/report.md", "../reports/r/report.md"),
        ("reports/r/report.md", "f.svg", "f.svg"),
        ("docs/a.md", "../code/x.py", "https://github.com/kdbench/kdbench/blob/main/code/x.py"),
        ("docs/a.md", "../code", "https://github.com/kdbench/kdbench/tree/main/code"),
        ("docs/a.md", "#part", "#part"),
        ("docs/a.md", "https://example.org/a.md", "https://example.org/a.md"),
    ],
)
def test_links_are_those_of_the_site(build, repository, page, link, expected):
    (repository / page).write_text(f"see [it]({link})\n")
    assert build.stage(repository, repository / "site") == []
    assert (repository / "site" / build.staged(page)).read_text().endswith(f"see [it]({expected})\n")


def test_a_link_that_leads_nowhere_is_dead(build, repository):
    (repository / "docs" / "a.md").write_text("![it](gone.svg)\n```\n[code](is-code.md)\n```\n")
    assert build.stage(repository, repository / "site") == ["docs/a.md: gone.svg"]


def test_a_heading_that_is_missing_is_dead(build, tmp_path):
    (tmp_path / "b").mkdir()
    links = '<a href="b/#here">1</a><a href="b/#gone">2</a><a href="c/">3</a>'
    (tmp_path / "index.html").write_text(f'<h1 id="top"></h1>{links}')
    (tmp_path / "b" / "index.html").write_text('<h2 id="here"></h2><a href="../#top">4</a><img src="x.svg">')
    assert sorted(build.dead_links(tmp_path)) == ["b/index.html: x.svg", "index.html: b/#gone", "index.html: c/"]


def test_every_page_has_a_place():
    pages = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").glob("*.md")}
    listed = re.findall(r'= "([^"]+\.md)"', (SITE / "zensical.toml").read_text())
    assert tomllib.loads((SITE / "zensical.toml").read_text())["project"]["nav"]
    assert pages <= set(listed)
    assert len(listed) == len(set(listed))
    assert all((ROOT / page).exists() for page in listed if not page.startswith(("reference/", "index")))


def test_reference_has_every_command_and_option(reference):
    text = reference.commands()
    for command in ("run", "train", "bench", "compress", "macs", "compare", "ready", "report", "history", "list"):
        assert f"\n## {command}\n" in text
    assert "`--budget" in text
    assert "\nExample: `kdbench init mine.toml --data digits --teacher resnet20 --student resnet8`\n" in text


def test_reference_has_every_key_of_a_recipe(reference):
    from kdbench.recipe import Training

    section = reference.recipe_keys().split("\n## Training\n", 1)[1].split("\n## ", 1)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", section, re.MULTILINE))
    assert set(rows) == set(Training.model_fields)
    assert rows["epochs"] in {"required", f"`{Training.model_fields['epochs'].default}`"}


def test_reference_has_every_metric(reference):
    from kdbench.results.metrics import METRICS, PAIR_METRICS

    rows = re.findall(r"^\| `(\w+)` \|", reference.metrics(), re.MULTILINE)
    assert rows == [*METRICS, *PAIR_METRICS]


def test_reference_names_the_public_members_of_a_value(reference):
    blocks = {block.splitlines()[0]: block for block in reference.api().split("\n\n")}
    assert '["regressions", "exit_code", "read", "write", "to_json"]' in blocks["::: kdbench.api.decisions.Comparison"]
    assert "members: false" in blocks["::: kdbench.results.records.Pair"]
    assert "options" not in blocks["::: kdbench.api.results.Results"]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Add.\n\n>>> 1 + 1\n2", "Add.\n\n```pycon\n>>> 1 + 1\n2\n```"),
        ("Add.\n\n    >>> f(\n    ...     1)\n    2\n\nIt.", "Add.\n\n```pycon\n>>> f(\n...     1)\n2\n```\n\nIt."),
        ("No example: a >>> b.", "No example: a >>> b."),
    ],
)
def test_examples_are_code(build, docstring, expected):
    pytest.importorskip("griffe")
    assert importlib.import_module("examples").fenced(docstring) == expected


def test_code_in_tables_shows_its_pipes(build):
    text = "| `a \\| b` | c \\| d |\nno table: `a \\| b`\n"
    assert build.with_pipes(text) == "| `a | b` | c \\| d |\nno table: `a \\| b`\n"


def test_every_report_has_a_place():
    files = (page for name in ("report.md", "README.md") for page in ROOT.glob(f"reports/*/{name}"))
    pages = {page.relative_to(ROOT).as_posix() for page in files}
    assert pages <= set(re.findall(r'= "([^"]+\.md)"', (SITE / "zensical.toml").read_text()))


def test_reference_shows_arguments_without_pythons_types(reference):
    text = reference.commands()
    assert "| `MODEL`{ .option } |" in text
    assert "list[" not in text
    assert "None" not in reference.recipe_keys()


def test_the_search_leaves_out_sample_reports(build, repository):
    build.stage(repository, repository / "site")
    assert "exclude: true" in (repository / "site" / "reports" / "r" / "report.md").read_text()
    assert (repository / "site" / "docs" / "a.md").read_text() == "# docs/a.md\n"


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        ("Training", "class_weights", '"balanced" \\| [float, …]'),
        ("Measure", "cores", "[int, …]"),
        ("Measure", "rate_per_s", "int"),
        ("Training", "devices", 'int \\| "auto"'),
    ],
)
def test_types_are_those_of_toml(reference, table, key, expected):
    section = reference.recipe_keys().split(f"\n## {table}\n", 1)[1].split("\n## ", 1)[0]
    assert f"| `{key}` | `{expected}` |" in section
