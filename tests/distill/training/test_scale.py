"""Two processes on a CPU train as one does: the same batches, the same loss, the same weights."""

import multiprocessing
import os
from itertools import count
from pathlib import Path

import pytest
import torch
from distill import cases
from distill.students import same_weights
from torch.distributed import TCPStore

from kdbench.distill.training import fit, loop
from kdbench.distill.training.processes import Processes, process_group
from kdbench.errors import InputError
from kdbench.results import cards
from kdbench.workflows.stages.launch import _environment

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lightning_fabric", "torchvision.transforms.v2", "kdbench.distill.training.fit"])

ALIKE = [cases.plain_labels, cases.plain_mixtures, cases.plain_stages, cases.plain_accumulated]
NORMED = [cases.labels_alone, cases.refined]  # batch norm and dropout, both each process's own


def together(number: int, work, *arguments) -> None:
    """Do `work` in so many processes at once."""
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = [
        PROCESSES.Process(target=as_one_of, args=(rank, number, meeting.port, work, *arguments))
        for rank in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * number


def as_one_of(rank: int, number: int, port: int, work, *arguments) -> None:
    os.environ.update(_environment(rank, number, port))
    work(process_group(), *arguments)


def train_several(processes: Processes, makes, folder: Path) -> None:
    """Train cases, and write what came of each to `folder`."""
    loop.SAVE_INTERVAL_S = 0.0
    for make in makes:
        weights, summary = cases.train(make, folder / make.__name__, devices=processes.count)
        torch.save(weights, folder / f"{make.__name__}-{processes.rank}.pt")
        (folder / f"{make.__name__}-{processes.rank}.json").write_text(summary.model_dump_json())


def interrupt_and_resume(processes: Processes, folder: Path) -> None:
    """Stop a training that runs in all processes, then continue it."""
    loop.SAVE_INTERVAL_S = 0.0
    calls = count()

    def stop(*_):
        if next(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cases.train(cases.labels_alone, folder / "cut", devices=processes.count, hook=stop)
    processes.summed(torch.zeros(1))
    assert (folder / "cut" / "unfinished" / "latest.ckpt").exists()
    cut, _ = cases.train(cases.labels_alone, folder / "cut", devices=processes.count)
    whole, _ = cases.train(cases.labels_alone, folder / "whole", devices=processes.count)
    assert same_weights(cut, whole)


def agree(processes: Processes, folder: Path) -> None:
    """Check what three processes tell each other."""
    rank, log = processes.rank, folder / "log"
    assert processes.broadcast(f"from {rank}") == "from 0"
    assert processes.summed(torch.tensor([1.0, rank])).tolist() == [3.0, 3.0]
    assert processes.on_rank_zero(lambda: rank) == 0
    with pytest.raises(InputError, match="by 0") as caught:
        processes.on_rank_zero(lambda: wrong(rank))
    assert caught.value.hint == "do not"

    def append_line() -> int:
        with log.open("a") as stream:
            stream.write(f"{rank}\n")
        return rank

    assert processes.first_before_others(append_line) == rank
    processes.summed(torch.zeros(1))
    lines = log.read_text().split()
    assert (lines[0], sorted(lines)) == ("0", ["0", "1", "2"])


def wrong(rank: int) -> None:
    raise InputError(f"by {rank}", "do not")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    together(2, train_several, [*ALIKE, *NORMED], folder)
    return folder


def result(folder, make, rank=0):
    summary = cards.Training.model_validate_json((folder / f"{make.__name__}-{rank}.json").read_text())
    return torch.load(folder / f"{make.__name__}-{rank}.pt"), summary


@pytest.mark.parametrize("make", ALIKE)
def test_two_processes_have_the_loss_curve_and_the_weights_of_one(two, make, tmp_path):
    (weights, summary), (alone, expected) = result(two, make), cases.train(make, tmp_path)
    for row, other in zip(summary.curve, expected.curve, strict=True):
        assert row.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert row.validation_loss == pytest.approx(other.validation_loss, rel=1e-4)
        assert row.train_top1 == pytest.approx(other.train_top1, abs=0.011)  # one sample of 101 on the edge
        assert row.learning_rate == other.learning_rate
    for name, value in weights.items():
        torch.testing.assert_close(value, alone[name], rtol=1e-3, atol=1e-5)
    assert not same_weights(weights, cases.train(make, tmp_path / "fewer", epochs=3)[0])


@pytest.mark.parametrize("make", [*ALIKE, *NORMED])
def test_all_processes_end_with_the_same_weights_and_curve_and_the_first_one_writes(two, make):
    (weights, summary), (others, other) = result(two, make, 0), result(two, make, 1)
    assert same_weights(weights, others)
    assert summary == other
    written = sorted(path.name for path in (two / make.__name__).iterdir())
    assert written == [fit.CURVE, fit.SUMMARY, fit.WEIGHTS]
    assert fit.finished(two / make.__name__, "k") == summary
    assert same_weights(fit.load_file(two / make.__name__ / fit.WEIGHTS), weights)


def test_interrupted_and_resumed_two_processes_end_with_the_same_bits(tmp_path):
    together(2, interrupt_and_resume, tmp_path)


def test_what_processes_agree_on_is_what_the_first_one_says(tmp_path):
    together(3, agree, tmp_path)


def test_a_training_on_several_devices_is_not_begun_alone(tmp_path):
    with pytest.raises(AssertionError, match="as many processes"):
        cases.train(cases.plain_labels, tmp_path, devices=2)
