import os
import subprocess
import sys

import pytest

import kdbench as package

COMMANDS = (
    *(
        "init",
        "run",
        "train",
        "sweep",
        "bench",
        "compress",
        "bundle",
        "merge",
        "macs",
        "compare",
        "ready",
        "report",
        "show",
        "open",
    ),
    *("history", "list", "doctor"),
)


def test_bare_invocation_prints_help_and_succeeds(run_cli):
    bare, with_help = run_cli(), run_cli("--help")
    assert bare.code == with_help.code == 0
    assert bare.out == with_help.out
    assert all(f"\n  {command} " in bare.out for command in COMMANDS)


def test_version(run_cli):
    ended = run_cli("--version")
    assert (ended.code, ended.out) == (0, f"kdbench {package.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_takes_json(run_cli, command):
    ended = run_cli(command, "--help")
    assert ended.code == 0
    assert f"Example: kdbench {command}" in " ".join(ended.out.split())
    assert "--json" in ended.out


@pytest.mark.parametrize("command", ["bench", "compare"])
def test_help_lists_the_choices_of_an_option(run_cli, command):
    text = run_cli(command, "--help").out
    assert "--provider [cpu|cuda]" in text
    assert "--energy [off|quick|full]" in text


@pytest.mark.parametrize(
    ("arguments", "nearest", "hint"),
    [
        (["rum"], "'run'", "see kdbench --help"),
        (["macs", "vgg8", "--clases", "3"], "--clases", "did you mean --classes?"),
        (["bench", "m.onnx", "--batches", "8"], "--batches", "did you mean --batch?"),
        (["sweep", "digits", "--seed=3"], "--seed", "did you mean --seeds?"),
        (["run", "digits", "--budget", "60s"], "--budget", "it is a key of the recipe: --set measure.budget_s="),
        (["macs", "vgg8", "--xyz"], "--xyz", "see kdbench macs --help"),
        (["bench", "m.onnx", "--format", "csv"], "--format", "see kdbench bench --help"),
        (["bench", "m.onnx", "--budget", "5x"], "--budget: the unit 'x' does not fit here", "for example 20s"),
        (["list", "recipe"], "'recipe'", "did you mean 'recipes'?"),
        (["macs", "vgg8", "--convention", "thopp"], "--convention", "did you mean 'thop'?"),
        (["train"], "recipe", "see kdbench train --help"),
        (["macs", "vgg8", "--classes", "0"], "--classes", "for example --classes 3"),
    ],
)
def test_usage_errors_exit_3_and_name_what_was_meant(run_cli, arguments, nearest, hint):
    ended = run_cli(*arguments)
    assert ended.code == 3
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert nearest.lower() in ended.err.lower()
    assert f"hint: {hint}" in ended.err


def test_an_error_is_json_too_when_json_is_asked_for(run_cli):
    ended = run_cli("run", "dgits", "--json")
    assert ended.code == 3
    assert ended.json == {
        "error": {"message": "unknown recipe 'dgits'", "hint": "did you mean 'digits'?", "exit_code": 3}
    }
    assert "hint: did you mean 'digits'?" in ended.err


def test_console_script_ends_with_the_exit_code_and_no_traceback():
    ended = _process("run", "dgits")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "kdbench", "list", "recipes", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "Usage: kdbench list" in ended.stdout
    assert subprocess.run([*command[:-2], "nothing"], capture_output=True, check=False).returncode == 3


def test_a_reader_that_went_away_is_silent():
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([*_KDBENCH, "list", "recipes"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("kdbench ", list(COMMANDS)),
        ("kdbench re", ["ready", "report"]),
        ("kdbench run mnist_", ["mnist_compression", "mnist_dense", "mnist_fidelity", "mnist_keras", "mnist_noise"]),
        ("kdbench train digi", ["digits", "digits_methods"]),
        ("kdbench list da", ["datasets"]),
        ("kdbench macs --convention th", ["thop"]),
    ],
)
def test_completion_knows_commands_recipes_and_choices(run_cli, monkeypatch, typed, completed):
    monkeypatch.setenv("_KDBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    assert sorted(run_cli().out.split()) == sorted(completed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_told_how_to_ask_and_is_answered(run_cli, monkeypatch, shell):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    script = run_cli("--show-completion", shell).out
    asking = dict.fromkeys(("COMP_WORDS", "_TYPER_COMPLETE_ARGS"), "kdbench run mnist_") | {"COMP_CWORD": "2"}
    assert f"_KDBENCH_COMPLETE=complete_{shell}" in script
    answer = _process(**asking, _KDBENCH_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args").stdout
    assert "mnist_dense" in answer
    assert "digits" not in answer


_KDBENCH = [sys.executable, "-c", "import sys; from kdbench.cli.main import main; sys.exit(main())"]


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_KDBENCH, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
