"""The documents name what the code has: every key of a recipe, every command and option that is shown."""

import io
import re
import shlex
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from kdbench import recipe
from kdbench.cli.application import application
from kdbench.distill.methods import METHODS
from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target
from kdbench.report.render.terminal import one_table, summary
from kdbench.report.text.verdict import verdict_sentence, verdict_table
from kdbench.results.records import RunRecord

ROOT = Path(__file__).parents[2]
SHOWN = {"", "sh", "text", "yaml"}  # the languages of blocks with commands; in YAML behind `run:` and `entry:`
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
SECTIONS = [
    section
    for section in vars(recipe).values()
    if isinstance(section, type) and issubclass(section, BaseModel) and section.__module__.startswith(recipe.__name__)
    if section is not recipe.InputOptions  # no table of a recipe
]


def commands_shown():
    for document in DOCUMENTS:
        text = re.sub(r"\\\n\s*", "", document.read_text())  # a command of several lines
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in (line for language, block in blocks if language in SHOWN for line in block.splitlines()):
            command = re.sub(r"^(- )?(run|entry): ", "", line.split("  #")[0].split("&&")[-1].strip())
            if command.startswith("kdbench "):
                yield pytest.param(command, id=f"{document.name}: {command[:40]}")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_of_a_recipe_is_explained(section):
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert not [key for key in section.model_fields if f"`{key}`" not in text]


@pytest.mark.parametrize("method", METHODS.names())
def test_every_option_of_a_method_is_explained(method):
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert not [key for key in METHODS.get(method).Options.model_fields if f"`{key}`" not in text]


@pytest.mark.parametrize("command", list(commands_shown()))
def test_every_command_that_is_shown_parses(command):
    group = typer.main.get_command(application())
    _, name, *arguments = shlex.split(command)
    shown = group.commands[name]
    shown.make_context(name, arguments, resilient_parsing=False, parent=None)


@pytest.fixture(scope="module")
def printed():
    """What the terminal shows of the sample run: its tables, and the verdict on one model."""
    read, out = RunRecord.read(ROOT / "reports" / "digits"), io.StringIO()
    console = Console(file=out, width=160)
    console.print(summary(read))
    verdict = judge(read, load_target("server-cpu"), ["student-kd"])
    console.print(Text(verdict_sentence(verdict).replace("`", "")), soft_wrap=True)
    console.print(one_table(verdict_table(verdict)))
    return [line.strip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_the_sample_runs_output_is_shown_as_it_is_printed(page, printed):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    shown = [line for language, block in blocks if not language for line in block.splitlines()]
    lines = [line.strip() for line in shown if not line.startswith("$")]
    assert len(lines) > 8
    for line in lines:
        begin = line.removesuffix("…")  # the rest is left out
        assert any(one.startswith(begin) if begin != line else one == line for one in printed), line


def test_commands_are_shown_at_all():
    assert len(list(commands_shown())) > 5
