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
        (("run", "digits", "--out", "x"), None, "kdbench run digits --out x --resume"),
        (("run", "digits", "--resume"), None, "kdbench run digits --resume"),
    ],
)
def test_resuming_names_the_folder_once(arguments, folder, expected):
    session = Invocation(arguments, folder=folder, resumable=True)
    assert session.how_to_resume() == f"to continue, run: {expected}"


def test_without_a_folder_nothing_is_resumed():
    # --resume alone continues the newest run of that name, which is an earlier one
    hint = Invocation(("run", "digits"), resumable=True).how_to_resume()
    assert hint == "nothing was written; run the same command again"


def test_what_cannot_be_resumed_is_run_again():
    assert Invocation(("report", "runs/b")).how_to_resume() == "run the same command again"


def _interrupted_bench(*arguments, folder):
    invocation = Invocation(("bench", "x.onnx", *arguments), folder=folder)
    invocation.measures = True
    return invocation.how_to_resume()


def test_an_interrupted_measurement_keeps_nothing(tmp_path):
    (tmp_path / "samples.npz").touch()
    for folder in (None, tmp_path):
        hint = _interrupted_bench("--out", str(tmp_path), folder=folder)
        assert hint == "an interrupted measurement keeps nothing; run the same command again"


def test_a_record_that_was_written_is_not_measured_again(tmp_path):
    (tmp_path / "record.json").touch()
    report = f"the numbers are kept: kdbench report {tmp_path} --format md,html writes their reports; the same command"
    assert _interrupted_bench(folder=tmp_path) == f"{report} measures again"
    with_out = _interrupted_bench(f"--out={tmp_path}", folder=tmp_path)
    assert with_out == f"{report} with another --out measures again"
