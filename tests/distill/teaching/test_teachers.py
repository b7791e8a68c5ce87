import multiprocessing
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from distill.networks import EXAMPLE, batches, stripes, tiny
from torch import nn

from kdbench.data.batches import Batch
from kdbench.distill.teaching.teachers import CachedTeacher, LiveTeacher, cached_teacher
from kdbench.errors import InputError, StorageError
from kdbench.progress import Silent
from kdbench.recipe import Augment

BATCH = Batch(EXAMPLE, torch.zeros(2, dtype=torch.long), torch.arange(2), torch.arange(2))


def test_it_answers_in_evaluation_mode_without_a_graph():
    teacher = LiveTeacher(tiny(dropout=0.5).train())
    first, second = teacher.predict(BATCH, ("second",)), teacher.predict(BATCH)
    torch.testing.assert_close(first.logits, second.logits)  # dropout and batch statistics are off
    assert not first.logits.requires_grad
    assert not first.features["second"].requires_grad
    assert second.features == {}


def test_it_is_asked_with_gradients_off_whatever_the_student_does():
    network, recording = tiny(), []
    network.register_forward_hook(lambda *_: recording.append(torch.is_grad_enabled()))
    with torch.enable_grad():
        LiveTeacher(network).predict(BATCH)
    assert recording == [False]


def test_its_answers_take_part_in_a_students_backward_pass():
    """Tensors of inference mode would refuse to be saved for it."""
    output = LiveTeacher(tiny()).predict(BATCH, ("second",))
    weight = torch.ones(3, requires_grad=True)
    (weight * output.logits).sum().backward()
    torch.testing.assert_close(weight.grad, output.logits.sum(dim=0))
    assert not output.features["second"].is_inference()


def test_being_asked_changes_nothing_of_it():
    network = tiny().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    teacher = LiveTeacher(network)
    for _ in range(3):
        teacher.predict(BATCH, ("first",))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not network.first._forward_hooks


def test_without_logits_it_is_run_no_further_than_the_last_layer_that_is_asked_for():
    """After the first time, which shows how often each layer is called; of networks whose own code decides nothing."""
    whole, reached = tiny().eval(), []
    parts = {"first": whole.first, "second": whole.second, "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    network = nn.Sequential(OrderedDict(parts, head=whole.head))
    for name in ("first", "second", "head"):
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: reached.append(name))
    teacher = LiveTeacher(network)
    assert teacher.predict(BATCH, ("second", "first"), logits=False).logits is None
    assert reached == ["first", "second", "head"]
    reached.clear()
    output = teacher.predict(BATCH, ("first",), logits=False)
    assert reached == ["first"]
    assert output.logits is None
    torch.testing.assert_close(output.features["first"], teacher.predict(BATCH, ("first",)).features["first"])
    reached.clear()
    teacher.predict(BATCH, ("second", "first"), logits=False)
    assert reached == ["first", "second"]


CROPS = {"pad": 2, "flip": True}
AUGMENTS = [
    Augment(),
    Augment(flip=True),
    Augment(**CROPS, views=4),
    Augment(pad=1, views=9),
    Augment(**CROPS, views=4, mixup=1.0),
    Augment(views=3, mixup=0.5, cutmix=1.0),
]


def training(augment, **options):
    return batches(stripes(45), train=True, augment=augment, classes=3, **options)


def cached(folder, network, shown, *, teacher="t", images="c", precision="32", progress=None) -> CachedTeacher:
    options = {"precision": precision, "images": images}
    return cached_teacher(folder, network, teacher, shown, **options, progress=progress or Silent())


def tables(folder) -> list[Path]:
    return sorted(folder.glob("*.npy"))


@pytest.mark.parametrize("augment", AUGMENTS, ids=str)
def test_cached_logits_are_the_live_ones_rounded_to_float16(tmp_path, augment):
    network, shown = tiny(3), training(augment)
    live, kept = LiveTeacher(network), cached(tmp_path, network, shown)
    for epoch in range(5):
        shown.set_epoch(epoch)
        for batch in shown:  # shuffled, in other batches than those in which the table was filled
            expected = live.predict(batch).logits
            torch.testing.assert_close(kept.predict(batch).logits, expected, rtol=2**-10, atol=1e-6)


def test_a_misaligned_table_would_be_seen(tmp_path):
    """What the test above would say if logits were looked up by their place in the batch."""
    network, shown = tiny(3), training(Augment())
    kept, batch = cached(tmp_path, network, shown), next(iter(shown))
    wrong = batch._replace(position=torch.arange(len(batch.labels)))
    assert not torch.allclose(kept.predict(wrong).logits, kept.predict(batch).logits, atol=1e-2)


def test_a_table_is_filled_once_for_all_that_agree_on_the_key(tmp_path):
    augment = Augment(**CROPS, views=3)
    cached(tmp_path, tiny(3), training(augment, seed=0))
    (path,) = tables(tmp_path)
    written = path.stat().st_mtime_ns
    cached(tmp_path, Failing(), training(augment, seed=7, batch=5))  # other seed, other batch: the same views
    assert [table.stat().st_mtime_ns for table in tables(tmp_path)] == [written]


@pytest.mark.parametrize(("augment", "views"), [(Augment(), 1), (Augment(**CROPS, views=3), 3)], ids=str)
def test_the_logits_are_done_before_the_training_begins(tmp_path, watcher, augment, views):
    """So that its first step, a smaller share, begins another pace, also after a single view."""
    cached(tmp_path, tiny(3), training(augment), progress=watcher)
    assert [(done, total) for done, total, _ in watcher.steps] == [(view, views) for view in range(views + 1)]


@pytest.mark.parametrize(
    "other",
    [
        {"teacher": "u"},
        {"images": "d"},
        {"precision": "bf16"},
        {"shown": training(Augment(**CROPS, views=3), channels_last=True)},
        {"shown": training(Augment(**CROPS, views=5))},
        {"shown": training(Augment(pad=2, views=3))},
        {"shown": training(Augment(**CROPS, views=3, mixup=1.0))},
        {"shown": training(Augment(**CROPS, views=3), mean=(0.5,))},
    ],
)
def test_whatever_changes_the_logits_has_a_table_of_its_own(tmp_path, other):
    usual = {"shown": training(Augment(**CROPS, views=3))}
    cached(tmp_path, tiny(3), **usual)
    cached(tmp_path, tiny(3), **{**usual, **other})
    assert len(tables(tmp_path)) == 2


def test_a_table_belongs_to_the_axis_of_the_normalisation(tmp_path):
    eight = {"mean": (0.1,) * 4 + (0.9,) * 4, "std": (0.3,) * 8}
    for axis in (2, 3):
        cached(tmp_path, tiny(3), training(Augment(), **eight, channel_axis=axis))
    assert len(tables(tmp_path)) == 2


class Failing(nn.Module):
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


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "checksum"])
def test_a_table_that_changed_is_filled_again(tmp_path, damage):
    network, shown = tiny(3), training(Augment())
    cached(tmp_path, network, shown)
    (path,) = tables(tmp_path)
    content = path.read_bytes()
    if damage == "checksum":
        path.with_suffix(".sha256").unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[:200], "bit": content[:-1] + bytes([content[-1] ^ 1])}[damage])
    assert cached(tmp_path, network, shown).prepared_s > 0
    assert path.read_bytes() == content
    assert cached(tmp_path, Failing(), shown).prepared_s == 0


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
    with pytest.raises(InputError, match="beyond the range of float16"):
        cached(tmp_path, network, training(Augment()))
    assert not tables(tmp_path)


def test_a_full_disk_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.distill.teaching.teachers.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(StorageError, match=r"need [1-9][0-9.]* k?B, 10\.0 B are free") as caught:
        cached(tmp_path, tiny(3), training(Augment()))
    assert "KDBENCH_CACHE" in caught.value.hint


def _fill(folder, barrier, results):
    torch.set_num_threads(1)
    network, shown = tiny(3), training(Augment(**CROPS, views=4))
    barrier.wait(timeout=60)
    teacher = cached(folder, network, shown)
    results.put(float(teacher.predict(next(iter(shown))).logits.sum()))


@pytest.mark.slow
def test_two_runs_that_fill_one_table_at_once_agree(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_fabric", "torchvision.transforms.v2", "kdbench.distill.training.fit"])
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


def test_predicted_numbers_are_cached_in_full(tmp_path):
    """60 000.25 would be 60 000 in float16: an error as large as a good prediction's."""

    class Large(nn.Module):
        def forward(self, images):
            return 60_000.25 + images.mean(dim=(1, 2, 3))[:, None]

    shown = batches(stripes(12), 5)
    teacher = cached_teacher(tmp_path, Large(), "t", shown, precision="32", images="c", progress=Silent(), exact=True)
    for batch in shown:
        looked_up = teacher.predict(batch._replace(slot=torch.zeros_like(batch.position))).logits
        torch.testing.assert_close(looked_up, Large()(batch.inputs), rtol=0, atol=0)
    again = cached_teacher(tmp_path, Large(), "t", shown, precision="32", images="c", progress=Silent(), exact=True)
    assert again.prepared_s == 0
    assert len(list(tmp_path.glob("*.npy"))) == 1
