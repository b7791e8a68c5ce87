import numpy as np
import onnx
import pytest
from compress.networks import convolutional
from small_graphs import run, stored

from kdbench.compress import Calibration, Source
from kdbench.compress.held_out import HeldOut, Loss
from kdbench.compress.methods.int8 import Int8
from kdbench.compress.preparing import require_onnxruntime
from kdbench.errors import InputError
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import CalibrationSet
from kdbench.workflows.files.variants import configured_compressor

RNG = np.random.default_rng(0)
X, HELD_OUT = (RNG.standard_normal((count, 3, 8, 8)).astype(np.float32) for count in (16, 400))
KNOWN = CalibrationSet(data="random", count=400, seed=0, sha256="0" * 64)


@pytest.fixture
def fragile(tmp_path):
    """A network of many answers whose second layer loses all weights per tensor but one for an input that is 0."""
    path = convolutional(tmp_path / "net.onnx")
    model = onnx.load(path)
    arrays = {name: stored(model, name).copy() for name in ("w1", "b1", "w2")}
    arrays["w2"][:, 0, 0, 0] = 500
    arrays["w1"][0] = arrays["b1"][0] = 0
    _store(model, arrays)
    _store(model, {"b3": stored(model, "b3") - run(model, x=HELD_OUT).mean(axis=0)})
    onnx.save(model, path)
    return path


def _store(model, arrays):
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[tensor.name], tensor.name))


def compressed(path, *, seen=False, **settings):
    """Compress per tensor; the labels of the held-out samples are what the float model answers."""
    labels = run(onnx.load(path), x=HELD_OUT).argmax(axis=1)
    held_out = HeldOut(lambda answers: answers(HELD_OUT).argmax(axis=1) == labels, KNOWN, seen)
    source = Source(path, inspect(path), Calibration(X, KNOWN), held_out)
    target = path.with_name("int8.onnx")
    outcome = Int8(per_channel=False, **settings).compress(source, target)
    lost = (run(onnx.load(target), x=HELD_OUT).argmax(axis=1) != labels).mean()
    return outcome, 100 * lost


def test_layers_stay_in_float_until_accuracy_falls_by_no_more(fragile):
    _, without = compressed(fragile)
    assert without > 20
    outcome, drop = compressed(fragile, max_drop=5)
    assert outcome.facts["kept_float"] == ["second"]
    assert drop <= 5
    facts = outcome.facts["held_out"]
    assert (facts["samples"], facts["source_top1"]) == (400, 1)
    assert facts["drop_points"] == pytest.approx(drop, abs=0.5)  # of integer kernels
    assert facts["drop_interval_points"][0] <= facts["drop_points"] <= facts["drop_interval_points"][1]
    assert compressed(fragile, max_drop=90)[0].facts.get("kept_float") is None


def test_both_goals_have_to_hold(fragile):
    kept = [compressed(fragile, **goals)[0].facts["kept_float"] for goals in ({"max_drop": 5}, {"min_snr_db": 26})]
    assert len(kept[0]) < len(kept[1])
    assert compressed(fragile, max_drop=5, min_snr_db=26)[0].facts["kept_float"] == kept[1]


def test_a_goal_that_cannot_be_met_is_refused_with_its_setting(fragile):
    with pytest.raises(InputError, match=r"min_snr_db = 200 and max_drop = 0 is not met even with all 2") as refused:
        compressed(fragile, max_drop=0, min_snr_db=200, keep_float=("second",))
    assert "keep_float" in refused.value.hint


def test_samples_that_a_model_was_trained_on_are_told(fragile):
    assert any("trained on them" in line for line in compressed(fragile, seen=True, max_drop=50)[0].warnings)
    assert not any("trained on" in line for line in compressed(fragile, max_drop=50)[0].warnings)


def test_a_loss_counts_both_flips():
    source, variant = np.array([1, 1, 1, 0, 0], bool), np.array([0, 0, 1, 1, 0], bool)
    loss = Loss.between(source, variant)
    assert loss == Loss(samples=5, correct=3, lost=2, gained=1)
    assert loss.drop_points == pytest.approx(100 * (3 - 2) / 5)
    assert (loss.facts["source_top1"], loss.facts["top1"], loss.facts["negative_flips"]) == (0.6, 0.4, 0.4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out_count": 10}, "applies only with max_drop"),
        ({"max_drop": -1}, "max_drop"),
        ({"max_drop": 100}, "max_drop"),
        ({"max_drop": float("nan")}, "max_drop"),
        ({"max_drop": 1, "held_out_count": 0}, "held_out_count"),
    ],
)
def test_impossible_goals_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        configured_compressor("int8", settings)


def test_settings_that_are_not_given_do_not_change_what_a_file_is_known_by():
    assert {"max_drop", "held_out_count"}.isdisjoint(Int8().model_dump(mode="json"))


def test_an_onnxruntime_that_is_too_old_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("onnxruntime.__version__", "1.26.3")
    with pytest.raises(InputError, match=r"needs onnxruntime 1\.27 or later, and 1\.26\.3") as refused:
        configured_compressor("int8")
    assert "onnxruntime>=1.27" in refused.value.hint
    for newer in ("1.27.0", "1.30.0.dev20260101", "2.0"):
        monkeypatch.setattr("onnxruntime.__version__", newer)
        require_onnxruntime((1, 27), "this")
