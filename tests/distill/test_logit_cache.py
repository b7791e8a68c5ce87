import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from networks import batches, stripes, tiny
from torch import nn

from kdbench.distill.logit_cache import CachedTeacher, LogitCache
from kdbench.distill.teacher import LiveTeacher
from kdbench.errors import InputError, StorageError
from kdbench.progress import Silent
from kdbench.recipe import Augment

CROPS = {"pad": 2, "flip": True}
AUGMENTS = [Augment(), Augment(flip=True), Augment(**CROPS, views=4), Augment(pad=1, views=9)]


def training(augment, **options):
    return batches(stripes(45), train=True, augment=augment, **options)


def cached(folder, network, shown, *, identity="t", content="c", precision="32") -> CachedTeacher:
    return LogitCache(folder).teacher(network, identity, shown, precision=precision, content=content, progress=Silent())


def tables(folder) -> list[Path]:
    return sorted(folder.glob("*.npy"))


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
def test_cached_logits_are_the_live_ones_rounded_to_float16(tmp_path, augment):
    network, shown = tiny(3), training(augment)
    live, kept = LiveTeacher(network), cached(tmp_path, network, shown)
    for epoch in range(5):
        shown.set_epoch(epoch)
        for batch in shown:  # shuffled, in other batches than those in which the table was filled
            expected = live.lesson(batch).logits
            torch.testing.assert_close(kept.lesson(batch).logits, expected, rtol=2**-10, atol=1e-6)


def test_a_misaligned_table_would_be_seen(tmp_path):
    """What the test above would say if logits were looked up by their place in the batch."""
    network, shown = tiny(3), training(Augment())
    kept, batch = cached(tmp_path, network, shown), next(iter(shown))
    wrong = batch._replace(index=torch.arange(len(batch.labels)))
    assert not torch.allclose(kept.lesson(wrong).logits, kept.lesson(batch).logits, atol=1e-2)


def test_a_table_is_filled_once_for_all_that_agree_on_the_key(tmp_path):
    augment = Augment(**CROPS, views=3)
    cached(tmp_path, tiny(3), training(augment, seed=0))
    (path,) = tables(tmp_path)
    written = path.stat().st_mtime_ns
    cached(tmp_path, Refusing(), training(augment, seed=7, batch=5))  # other seed, other batch: the same views
    assert [table.stat().st_mtime_ns for table in tables(tmp_path)] == [written]


@pytest.mark.parametrize(
    "other",
    [
        {"identity": "u"},
        {"content": "d"},
        {"precision": "bf16"},
        {"shown": training(Augment(**CROPS, views=3), channels_last=True)},
        {"shown": training(Augment(**CROPS, views=5))},
        {"shown": training(Augment(pad=2, views=3))},
        {"shown": training(Augment(**CROPS, views=3), mean=(0.5,))},
    ],
)
def test_whatever_changes_the_logits_has_a_table_of_its_own(tmp_path, other):
    usual = {"shown": training(Augment(**CROPS, views=3))}
    cached(tmp_path, tiny(3), **usual)
    cached(tmp_path, tiny(3), **{**usual, **other})
    assert len(tables(tmp_path)) == 2


class Refusing(nn.Module):
    def forward(self, images):
        raise AssertionError("asked again")


class Interrupted(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return torch.zeros(len(images), 3)


def test_an_interrupted_filling_leaves_nothing(tmp_path):
    augment = Augment(**CROPS, views=3)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, Interrupted(), training(augment))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    cached(tmp_path, tiny(3), training(augment))
    assert len(tables(tmp_path)) == 1


@pytest.mark.parametrize("left", [0, 200])
def test_a_table_cut_short_is_filled_again(tmp_path, left):
    network, shown = tiny(3), training(Augment())
    cached(tmp_path, network, shown)
    (path,) = tables(tmp_path)
    whole = np.load(path)
    path.write_bytes(path.read_bytes()[:left])
    cached(tmp_path, network, shown)
    assert np.array_equal(np.load(path), whole)


def test_what_a_killed_run_left_of_a_table_is_cleared_away(tmp_path):
    cached(tmp_path, tiny(3), training(Augment()))
    (path,) = tables(tmp_path)
    path.unlink()
    left = tmp_path / f".{path.name}.12345.part"
    left.write_bytes(b"half")
    cached(tmp_path, tiny(3), training(Augment()))
    assert tables(tmp_path) == [path]
    assert not left.exists()


def test_logits_that_float16_cannot_hold_are_refused(tmp_path):
    network = tiny(3)
    with torch.no_grad():
        network.head.bias += 1e5
    with pytest.raises(InputError, match="more than float16 holds"):
        cached(tmp_path, network, training(Augment()))
    assert not tables(tmp_path)


def test_a_full_disk_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.distill.logit_cache.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(StorageError, match="MiB") as caught:
        cached(tmp_path, tiny(3), training(Augment()))
    assert "KDBENCH_CACHE" in caught.value.hint


def _fill(folder, barrier, results):
    torch.set_num_threads(1)
    network, shown = tiny(3), training(Augment(**CROPS, views=4))
    barrier.wait(timeout=60)
    teacher = cached(folder, network, shown)
    results.put(float(teacher.lesson(next(iter(shown))).logits.sum()))


@pytest.mark.slow
def test_two_runs_that_fill_one_table_at_once_agree(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    runs = [context.Process(target=_fill, args=(tmp_path, barrier, results)) for _ in range(2)]
    for run in runs:
        run.start()
    sums = {results.get(timeout=120) for _ in runs}
    for run in runs:
        run.join(timeout=60)
    assert [run.exitcode for run in runs] == [0, 0]
    assert len(sums) == 1
    assert len(tables(tmp_path)) == 1
