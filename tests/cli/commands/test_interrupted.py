"""What commands advise after an interruption, by what they leave."""

import pytest

from kdbench.cli.interrupt import Interrupts
from kdbench.cli.main import main


@pytest.fixture
def interrupted(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    # The child processes here are the tests' own.
    monkeypatch.setattr(Interrupts, "clean_up", Interrupts.report_interruption)

    def hint(workflow, *arguments):
        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(f"kdbench.workflows.{workflow}", interrupt)
        assert main(arguments) == 130
        return capfd.readouterr().err.strip().rpartition("hint: ")[2]

    return hint


def test_a_measurement_keeps_nothing(interrupted):
    nothing = "an interrupted measurement keeps nothing; run the same command again"
    assert interrupted("bench.bench_models", "bench", "m.onnx") == nothing
    assert interrupted("remeasure.remeasure", "compare", "a", "b", "--remeasure") == nothing


def test_the_same_command_ends_an_interrupted_merge(interrupted):
    assert interrupted("merge.merge", "merge", "my runs/first", "result.zip") == "run the same command again"
    assert interrupted("merge.remove", "merge", "my runs/first", "--remove", "pi") == "run the same command again"
