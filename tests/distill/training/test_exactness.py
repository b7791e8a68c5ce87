"""The same seed gives the same bits, however often the training is killed on its way."""

import multiprocessing
import os
import random
import signal
from itertools import count
from pathlib import Path

import pytest
import torch
from distill import cases
from distill.students import same_weights

from kdbench.distill.training import fit, loop
from kdbench.distill.training.devices import missing_compiler

# A server that has everything imported and nothing begun: its children start at once, and inherit no threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lightning_fabric", "torchvision.transforms.v2", "kdbench.distill.training.fit"])

NEEDS_COMPILER = pytest.mark.skipif(missing_compiler("cpu") is not None, reason="there is no C++ compiler")
KINDS = [
    cases.labels_alone,
    cases.cached_bank,
    cases.mixtures,
    cases.memories,
    cases.peers,
    cases.two_stages,
    cases.out_of_patience,
    cases.half_precision,
    cases.refined,
    cases.averaged_in_half_precision,
    pytest.param(cases.compiled, marks=[NEEDS_COMPILER, pytest.mark.slow]),
]


def train_and_be_killed(make, folder: Path, forwards: int | None, syncs: int | None) -> None:
    """Train, and be killed after so many forward passes, or flushes to disk; in a process of its own."""
    loop.SAVE_INTERVAL_S = 0.0
    forward, flush, real = killing_after(forwards), killing_after(syncs), os.fsync

    def fsync(descriptor):
        flush()
        real(descriptor)

    os.fsync = fsync
    cases.train(make, folder, hook=forward)


def killing_after(calls: int | None):
    """A function that can be called so many times, or as often as one likes."""
    left = count() if calls is None else iter(range(calls))

    def call(*_):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return call


def killed(make, folder, *, forwards=None, syncs=None) -> None:
    process = PROCESSES.Process(target=train_and_be_killed, args=(make, folder, forwards, syncs))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert fit.finished(folder, "k") is None


def assert_same(result, expected) -> None:
    (weights, summary), (whole_weights, whole) = result, expected
    assert same_weights(weights, whole_weights)
    measured = {"seconds": 0.0}
    assert [row.model_copy(update=measured) for row in summary.curve] == [
        row.model_copy(update=measured) for row in whole.curve
    ]
    assert (summary.best_epoch, summary.kept_epoch) == (whole.best_epoch, whole.kept_epoch)


@pytest.mark.parametrize("make", KINDS)
def test_killed_at_random_steps_and_resumed_it_ends_as_if_nothing_had_been(make, tmp_path):
    calls = []
    expected = cases.train(make, tmp_path / "whole", hook=lambda *_: calls.append(None))
    chance = random.Random(make.__name__)
    first, second = sorted(chance.sample(range(1, len(calls)), 2))
    killed(make, tmp_path / "cut", forwards=first)
    if make is not cases.compiled:  # each process compiles for seconds
        # Counted from the start of the epoch that is repeated, so not after the end.
        killed(make, tmp_path / "cut", forwards=chance.randrange(len(calls) - second))
    assert_same(cases.train(make, tmp_path / "cut"), expected)


@pytest.mark.parametrize("syncs", [1, 2, 3])
def test_killed_while_it_saves_it_goes_on_from_what_was_saved_before(syncs, tmp_path):
    killed(cases.labels_alone, tmp_path / "cut", syncs=syncs)  # the first one flushes the marker
    assert_same(cases.train(cases.labels_alone, tmp_path / "cut"), cases.train(cases.labels_alone, tmp_path / "whole"))


def test_killed_when_it_had_run_out_of_patience_it_trains_no_further(tmp_path, monkeypatch):
    expected = cases.train(cases.out_of_patience, tmp_path / "whole")
    assert expected[1].stopped_early
    with monkeypatch.context() as patch:
        patch.setattr(fit, "_write_results", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            cases.train(cases.out_of_patience, tmp_path / "cut")
    assert_same(cases.train(cases.out_of_patience, tmp_path / "cut"), expected)


def _interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("make", [cases.labels_alone, cases.mixtures, cases.memories])
def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(make, tmp_path):
    first = cases.train(make, tmp_path / "first")
    torch.rand(1000)
    assert_same(cases.train(make, tmp_path / "second"), first)
    # Other bits are possible: what is compared is no constant.
    assert not same_weights(cases.train(make, tmp_path / "other", epochs=3)[0], first[0])


@NEEDS_COMPILER
@pytest.mark.slow
def test_compiled_steps_learn_as_others_do_and_leave_the_networks_own_weights(tmp_path):
    compiled, summary = cases.train(cases.compiled, tmp_path / "compiled", epochs=1)
    eager, other = cases.train(cases.compiled, tmp_path / "eager", epochs=1, compile=False)
    assert compiled.keys() == eager.keys()
    # Dropout draws other masks there, so the two are alike and no more.
    assert summary.curve[0].train_loss == pytest.approx(other.curve[0].train_loss, rel=0.1)
    assert not same_weights(compiled, eager)
