"""What TensorBoard's own reader finds."""

from functools import partial

import pytest
from distill.trackers.tracked import track_training
from markdown_it import MarkdownIt

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder):
    """Return the points of each scalar as TensorBoard shows them."""
    reader = event_accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


track = partial(track_training, "tensorboard")


def test_every_column_is_a_scalar_and_results_are_final(tracked, curve_of):
    curve = curve_of(3)
    track(tracked(), curve, results={"top1": 0.75, "latency_p50_ns/threads-1": 1500.0})
    logged = scalars(tracked().folder / "m")
    assert logged.pop("final/top1") == [(0, 0.75)]
    assert logged.pop("final/latency_p50_ns/threads-1") == [(0, 1500.0)]
    assert logged.keys() == {name for name in curve[0].columns if name != "epoch"}
    assert logged["validation_loss"] == [(row.epoch, pytest.approx(row.validation_loss)) for row in curve]


def test_the_recipes_keys_are_text_and_hyperparameters(tracked, curve_of):
    track(tracked(), curve_of(2), results={"top1": 0.75})
    reader = event_accumulator.EventAccumulator(str(tracked().folder / "m"))
    reader.Reload()
    (text,) = (event.tensor_proto.string_val[0].decode() for event in reader.Tensors("recipe/text_summary"))
    assert "    training.optimizer.lr = 0.1\n" in text
    assert "_hparams_/session_start_info" in reader.summary_metadata


def test_no_value_is_markup_in_the_text(tracked, curve_of):
    hostile = {"path": "![x](https://evil.example/a.png) <img src=y> | a", "note": "one\n\n# two\x1b[31m"}
    track(tracked(parameters=hostile), curve_of(1))
    reader = event_accumulator.EventAccumulator(str(tracked().folder / "m"))
    reader.Reload()
    (text,) = (event.tensor_proto.string_val[0].decode() for event in reader.Tensors("recipe/text_summary"))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert [token.type for token in tokens] == ["code_block"]
    assert tokens[0].content.replace("\n", "").isprintable()


def test_a_resumed_training_replaces_what_it_repeats(tracked, curve_of):
    curve = curve_of(5)
    track(tracked(), curve[:4], complete=False)
    track(tracked(), curve, start=2)
    assert [step for step, _ in scalars(tracked().folder / "m")["train_loss"]] == [1, 2, 3, 4, 5]


def test_a_training_that_was_not_tracked_before_is_tracked_whole(tracked, curve_of):
    track(tracked(), curve_of(4), start=3)
    assert [step for step, _ in scalars(tracked().folder / "m")["train_loss"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(("key", "start"), [("other", 0), ("other", 2), ("k", 0)])
def test_another_training_and_one_that_begins_again_leave_nothing_of_the_first(tracked, curve_of, key, start):
    track(tracked(), curve_of(5))
    curve = curve_of(3, scale=7.0)
    track(tracked(key), curve, start)
    assert scalars(tracked().folder / "m")["train_loss"] == [(r.epoch, pytest.approx(r.train_loss)) for r in curve]
