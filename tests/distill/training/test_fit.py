import csv
import zipfile

import pytest
import torch
from distill.networks import batches, tiny
from distill.students import TRAIN, VALIDATION, Stops, objective_of, same_weights, student, training

from kdbench.distill.objective import Objective
from kdbench.distill.training import checkpoint, fit, loop
from kdbench.errors import DivergedError, InputError
from kdbench.files import storage
from kdbench.progress import Silent


def run_fit(folder, options=None, *, network=None, objective=None, progress=None, key="k"):
    network = network or tiny(dropout=0.2)
    options = options or training()
    summary = fit.fit(
        network,
        objective or Objective(),
        batches(TRAIN, options.batch, train=True, seed=5),
        batches(VALIDATION),
        options,
        seed=5,
        folder=folder,
        key=key,
        progress=progress or Silent(),
    )
    return network, summary


def test_a_network_learns_and_leaves_weights_summary_and_curve(tmp_path):
    network, summary = run_fit(tmp_path, training(epochs=12))
    assert summary.curve[summary.best_epoch - 1].validation_top1 > 0.9
    assert summary.epochs == len(summary.curve) == 12
    assert fit.finished(tmp_path, "k") == summary
    assert fit.finished(tmp_path, "another key") is None
    again = tiny(seed=9)
    fit.load_weights(again, tmp_path)
    assert same_weights(again.state_dict(), network.state_dict())
    with (tmp_path / fit.CURVE).open() as stream:
        assert [int(row["epoch"]) for row in csv.DictReader(stream)] == list(range(1, 13))
    assert sorted(path.name for path in tmp_path.iterdir()) == [fit.CURVE, fit.SUMMARY, fit.WEIGHTS]


def test_the_same_seed_gives_the_same_bits(tmp_path):
    one, _ = run_fit(tmp_path / "one")
    other, _ = run_fit(tmp_path / "other")
    assert same_weights(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("stop_after", [2, 3])
def test_interrupted_and_resumed_ends_with_the_weights_of_an_uninterrupted_training(tmp_path, stop_after):
    options = training(keep="last")
    whole, whole_summary = run_fit(tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", options, progress=Stops(stop_after))
    assert fit.finished(tmp_path / "cut", "k") is None
    assert fit.epochs_done(tmp_path / "cut", "k") == stop_after - 1, "it stops where it reports that epoch"
    assert fit.epochs_done(tmp_path / "cut", "another key") == fit.epochs_done(tmp_path / "none", "k") == 0
    resumed, summary = run_fit(tmp_path / "cut", options, network=tiny(seed=77, dropout=0.2))
    assert same_weights(resumed.state_dict(), whole.state_dict())
    assert [row.train_loss for row in summary.curve] == [row.train_loss for row in whole_summary.curve]


def test_the_best_weights_survive_an_interruption_and_a_move(tmp_path):
    options = training(epochs=6, optimizer={"name": "sgd", "lr": 0.5}, schedule={"name": "constant"})
    whole, whole_summary = run_fit(tmp_path / "whole", options)
    best = whole_summary.best_epoch
    assert 1 < best < 5, "the example needs a best epoch before the interruption"
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", options, progress=Stops(best + 2))
    (tmp_path / "cut").rename(tmp_path / "moved")
    resumed, summary = run_fit(tmp_path / "moved", options, network=tiny(seed=77, dropout=0.2))
    assert summary.best_epoch == summary.kept_epoch == best
    assert same_weights(resumed.state_dict(), whole.state_dict())


def test_a_training_is_saved_now_and_then_and_not_after_every_short_epoch(tmp_path, monkeypatch):
    saved = []
    real = checkpoint.storage.replacing

    def noting(path, **options):
        saved.append(path.name)
        return real(path, **options)

    monkeypatch.setattr(checkpoint.storage, "replacing", noting)
    run_fit(tmp_path / "often")
    assert saved.count("latest.ckpt") == 4
    saved.clear()
    monkeypatch.setattr(loop, "SAVE_INTERVAL_S", 1e9)
    run_fit(tmp_path / "seldom")
    assert "latest.ckpt" not in saved
    assert fit.WEIGHTS in saved


def test_a_checkpoint_made_under_other_settings_is_not_taken_up(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", progress=Stops(2), key="old")
    fresh, _ = run_fit(tmp_path / "cut", key="new")
    whole, _ = run_fit(tmp_path / "whole", key="new")
    assert same_weights(fresh.state_dict(), whole.state_dict())


@pytest.mark.parametrize("content", [b"no checkpoint", {"epoch": 2, "pytorch-lightning_version": "2.6.0"}])
def test_a_checkpoint_of_another_format_is_discarded_and_the_training_starts_again(tmp_path, content):
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", progress=Stops(2))
    path = tmp_path / "cut" / "unfinished" / checkpoint.STATE
    assert checkpoint.load(path) is not None
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    assert checkpoint.load(path) is None
    again, _ = run_fit(tmp_path / "cut")
    uninterrupted, _ = run_fit(tmp_path / "whole")
    assert same_weights(again.state_dict(), uninterrupted.state_dict())


def test_a_checkpoint_with_another_bit_or_of_another_training_is_discarded(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", progress=Stops(2))
    path = tmp_path / "cut" / "unfinished" / checkpoint.STATE
    known = path.with_name("key.json").read_text()
    assert checkpoint.load(path) is not None
    for other in ('{"key": "another"}', "[]", '{"key": 1}', "no JSON"):
        path.with_name("key.json").write_text(other)
        assert checkpoint.load(path) is None
    path.with_name("key.json").write_text(known)
    assert checkpoint.load(path) is not None
    with zipfile.ZipFile(path) as archive:
        tensor = max(archive.infolist(), key=lambda member: member.file_size)
    content = bytearray(path.read_bytes())
    content[tensor.header_offset + tensor.file_size] ^= 1  # in the numbers, after any header
    path.write_bytes(content)
    assert checkpoint.load(path) is None


@pytest.mark.parametrize("changed", ["curve", "not a table", "weights"])
def test_a_complete_training_whose_files_changed_is_refused(tmp_path, changed):
    run_fit(tmp_path)
    path = tmp_path / (fit.WEIGHTS if changed == "weights" else fit.SUMMARY)
    content = path.read_bytes()
    fit.require_unchanged(tmp_path)
    if changed == "weights":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.write_bytes(content.replace(b'"best_epoch": ', b'"best_epoch": 1') if changed == "curve" else b"[]")
        with pytest.raises(InputError, match="changed or is damaged") as refused:
            fit.finished(tmp_path, "k")
        assert refused.value.hint.startswith(f"delete {tmp_path}")
    with pytest.raises(InputError, match="changed or is damaged"):
        fit.require_unchanged(tmp_path)


def test_summaries_of_earlier_versions_without_a_hash_are_read(tmp_path):
    _, summary = run_fit(tmp_path)
    content = storage.read_json(tmp_path / fit.SUMMARY, "summary")
    del content["sha256"]
    storage.write_json(tmp_path / fit.SUMMARY, content)
    assert fit.finished(tmp_path, "k") == summary


def test_best_and_last_weights_are_those_of_their_epochs(tmp_path):
    options = {"epochs": 6, "optimizer": {"name": "sgd", "lr": 0.5}, "schedule": {"name": "constant"}}
    _, summary = run_fit(tmp_path / "best", training(keep="best", **options))
    last, _ = run_fit(tmp_path / "last", training(keep="last", **options))
    assert summary.best_epoch < 6, "the example needs a last epoch that is not the best"
    upto_best, _ = run_fit(tmp_path / "short", training(keep="last", **{**options, "epochs": summary.best_epoch}))
    best = tiny(dropout=0.2)
    fit.load_weights(best, tmp_path / "best")
    assert same_weights(best.state_dict(), upto_best.state_dict())
    assert not same_weights(best.state_dict(), last.state_dict())


def test_the_curve_gives_each_epochs_first_learning_rate(tmp_path):
    _, summary = run_fit(
        tmp_path, training(epochs=2, schedule={"name": "cosine"}, optimizer={"name": "adam", "lr": 0.01})
    )
    assert [row.learning_rate for row in summary.curve] == pytest.approx([0.01, 0.005])


def test_early_stopping_waits_for_its_patience(tmp_path):
    frozen = training(epochs=50, patience=3, optimizer={"name": "sgd", "lr": 1e-12})
    _, summary = run_fit(tmp_path, frozen)
    assert summary.stopped_early
    assert summary.epochs <= 8


def test_a_loss_that_is_not_finite_ends_the_training_with_advice(tmp_path):
    with pytest.raises(DivergedError, match="diverged") as caught:
        run_fit(tmp_path, training(optimizer={"name": "sgd", "lr": 1e6}))
    assert "training.optimizer.lr" in caught.value.hint
    assert fit.finished(tmp_path, "k") is None


def test_the_student_is_in_training_mode_in_every_epoch_and_the_teacher_in_none(tmp_path):
    learner, teacher = tiny(dropout=0.2), tiny(1, width=8)
    modes = []
    learner.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    teacher.register_forward_hook(lambda module, *_: modes.append(("teacher", module.training)))
    objective = objective_of(student({"method": "kd"}), learner, teacher)
    modes.clear()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    run_fit(tmp_path, training(epochs=2), network=learner, objective=objective)
    steps, evaluations = 6, 3
    expected_epoch = [("teacher", False), (True, True)]
    student_calls = [mode for mode in modes if mode[0] != "teacher"]
    assert student_calls == ([(True, True)] * steps + [(False, False)] * evaluations) * 2
    assert ("teacher", True) not in modes
    assert modes.count(expected_epoch[0]) == 2 * steps
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_teacher_is_not_saved_with_its_student(tmp_path):
    learner = tiny(dropout=0.2)
    objective = objective_of(student({"method": "hint"}), learner, tiny(1, width=8))
    _, summary = run_fit(tmp_path, network=learner, objective=objective)
    weights = fit.load_file(tmp_path / fit.WEIGHTS)
    assert set(weights) == set(tiny().state_dict())
    assert "hint" not in "".join(weights)
    assert summary.objective == "CE + 100·MSE(regressor(first), first)"


@pytest.mark.parametrize(
    "options", [{"precision": "bf16"}, {"channels_last": True}, {"clip": 0.5}, {"label_smoothing": 0.1}]
)
def test_every_way_of_training_learns_and_leaves_plain_float_weights(tmp_path, options):
    network, _ = run_fit(tmp_path, training(epochs=2, **options))
    assert {value.dtype for value in network.state_dict().values()} <= {torch.float32, torch.int64}
    assert all(p.is_contiguous() for p in network.parameters())


def test_cuda_where_there_is_none_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU"):
        fit.device_of(training(device="cuda"))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_and_the_best_epoch_begin_when_no_term_is_alone_any_more(tmp_path, keep):
    learner, teacher = tiny(), tiny(1, width=8)
    stages = [{"method": "hint", "until_epoch": 4, "alone": True}, {"method": "kd", "from_epoch": 4}]
    objective = objective_of(student(*stages), learner, teacher)
    options = training(epochs=8, patience=2, keep=keep)
    _, summary = run_fit(tmp_path, options, network=learner, objective=objective)
    assert summary.epochs > 5, "the first stage improves no accuracy, and is no reason to stop"
    assert summary.best_epoch > 4


def test_patience_waits_for_a_term_that_begins_later(tmp_path):
    """With a rate of almost 0 the first epoch stays the best: three more would end the training before epoch 7."""
    learner, teacher = tiny(), tiny(1, width=8)
    objective = objective_of(student({"method": "kd", "from_epoch": 6}), learner, teacher)
    frozen = training(epochs=50, patience=3, optimizer={"name": "sgd", "lr": 1e-12})
    _, summary = run_fit(tmp_path, frozen, network=learner, objective=objective)
    assert summary.best_epoch < 4
    assert summary.epochs == 6 + 3
    losses = [row.train_loss for row in summary.curve]
    assert losses[:6] == pytest.approx([losses[0]] * 6, rel=1e-3)
    assert losses[6:] != pytest.approx([losses[0]] * 3, rel=0.1), "the term counts in the last three"


def test_a_folder_whose_weights_were_replaced_is_not_taken_for_the_earlier_training(tmp_path, monkeypatch):
    """Killed between the weights and the summary, of a training under another key."""
    run_fit(tmp_path, training(epochs=1))
    assert fit.finished(tmp_path, "k")
    write_text = fit.storage.write_text

    def killed(path, text):
        if path.name == fit.CURVE:
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(fit.storage, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path, training(epochs=1), key="another")
    assert fit.finished(tmp_path, "k") is None
    assert fit.finished(tmp_path, "another") is None


def test_only_checkpoints_of_complete_trainings_are_discarded(tmp_path):
    complete = {"complete": "a", "half removed": None, "of other settings": "b"}
    unfinished = {"interrupted": "a", "just begun": None}
    for name, key in (complete | unfinished).items():
        if name in complete:
            fit.adopt(torch.nn.Linear(1, 1), tmp_path / name, "a", seed=0)
        folder = tmp_path / name / "unfinished"
        folder.mkdir(parents=True)
        (folder / "latest.ckpt").touch()
        if key is not None:
            (folder / "key.json").write_text(f'{{"key": "{key}"}}')
    fit.discard_checkpoints(tmp_path)
    assert {path.parent.name for path in tmp_path.glob("*/unfinished")} == {"of other settings", *unfinished}
