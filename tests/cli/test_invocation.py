from pathlib import Path

import pytest

from kdbench.cli.invocation import Invocation


def test_the_command_can_be_pasted_into_a_shell():
    assert Invocation(("run", "my recipe.toml", "--set", "a=[1, 2]")).command == (
        "kdbench run 'my recipe.toml' --set 'a=[1, 2]'"
    )


@pytest.mark.parametrize(
    ("arguments", "folder", "expected"),
    [
        (("run", "digits"), Path("runs/d-1"), "kdbench run digits --out runs/d-1 --resume"),
        (("run", "digits", "--out", "x"), Path("x"), "kdbench run digits --out x --resume"),
        (("run", "--out=x", "--resume"), Path("x"), "kdbench run --out=x --resume"),
        (("run", "digits"), None, "kdbench run digits --resume"),
    ],
)
def test_resuming_names_the_folder_once(arguments, folder, expected):
    session = Invocation(arguments, folder=folder, resumable=True)
    assert session.how_to_resume() == f"to continue, run: {expected}"


def test_what_cannot_be_resumed_is_run_again():
    assert "run the same command again" in Invocation(("bench", "x.onnx")).how_to_resume()
