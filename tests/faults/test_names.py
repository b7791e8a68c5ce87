"""Hostile names at every place of a record: every page and file shows them as text."""

import json
from collections.abc import Iterable

import pytest

from benchmarks.faults.inspection import problems, unsafe_in_log
from benchmarks.faults.material.small_record import PLACES, WORDS, with_text
from kdbench.cli.main import main

EVERYTHING = (
    "::error::##vso[a.b]<img src=x> a|b `` \r\n# @octocat https://evil.example \x1b[31m\x9b\u202e\x00\ufffe ](x) $x$"
)
IDS_TOO = "=cmd|' <b>@octocat</b> ``<img src=x>` [a](https://evil.example)"


@pytest.fixture
def rendered(tmp_path, capsys):
    """Return a function that renders a record in every way and returns what is wrong."""

    def render(text: str, places: Iterable[str], formats: str) -> list[str]:
        run, out = tmp_path / "run", tmp_path / "out"
        run.mkdir()
        (run / "record.json").write_text(json.dumps(with_text(text, *places)), encoding="utf-8")
        commands = (
            ["report", run, "--format", formats, "--out", out],
            ["ready", run, "--target", "server-cpu"],
            ["compare", run, run, "--markdown", out / "c.md", "--junit", out / "c.xml"],
            ["history", run, "--metric", "top1,latency_p50_ns", "--markdown", out / "h.md"],
        )
        codes = [main([str(word) for word in command]) for command in commands]
        assert set(codes) <= {0, 1, 2}, (codes, capsys.readouterr().err)
        shown = capsys.readouterr()
        texts = [path.read_text() for path in out.iterdir() if path.is_file() and path.name != "h.md"]
        assert all("octocat" in text for text in [*texts, shown.out])
        return [*problems(out), *unsafe_in_log(shown.out + shown.err)]

    return render


def test_every_format_shows_hostile_text_as_text(rendered) -> None:
    assert rendered(EVERYTHING, WORDS, "md,csv,json") == []


def test_names_of_models_are_text_in_every_format(rendered) -> None:
    assert rendered(IDS_TOO.replace("/", ":"), PLACES, "html,csv") == []
