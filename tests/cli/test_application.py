import inspect

import pytest
import typer

from kdbench.cli.application import application
from kdbench.cli.overview import COMMANDS, overview

GROUP = typer.main.get_command(application())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_summary_is_the_first_sentence_of_its_help(name):
    help_text = " ".join(inspect.cleandoc(GROUP.commands[name].help).split())
    assert help_text.startswith(COMMANDS[name][1])


def test_the_overview_has_every_option():
    shown = overview().partition("Options:")[2].partition("Commands:")[0]
    context = typer.Context(GROUP, help_option_names=["-h", "--help"])
    options = [option for parameter in GROUP.get_params(context) for option in parameter.opts]
    assert sorted(options) == sorted(word for word in shown.replace(",", " ").split() if word.startswith("-"))


@pytest.mark.parametrize(("columns", "widest"), [(20, 50), (60, 58), (200, 78)])
def test_the_overview_is_as_wide_as_the_terminal(monkeypatch, columns, widest):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = overview()
    assert widest - 10 < max(map(len, text.splitlines())) <= widest
    assert " ".join(text.split()) == " ".join(_at(monkeypatch, 80).split())


def test_the_overview_is_the_same_with_and_without_the_parser(run_cli):
    context = typer.Context(GROUP, info_name="kdbench")
    assert GROUP.get_help(context) + "\n" == run_cli("--help").out


def _at(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    return overview()
