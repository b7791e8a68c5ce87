"""Predictions of tiny models: by real measuring processes where these are what matters, otherwise by the probe here."""

import dataclasses

import numpy as np
import pytest

from kdbench.errors import InputError
from kdbench.evaluate.predictions import Predictions
from kdbench.measure import runner
from kdbench.measure.bench_model import TestSet
from kdbench.measure.predictions.predict import predict
from kdbench.results.preprocessing import Preprocessing
from kdbench.worker.process import WorkerError

in_this_process = pytest.mark.usefixtures("short_run")


@pytest.fixture
def predicted(context):
    return lambda models, test: predict(context(models, test), models, test)


@in_this_process
@pytest.mark.parametrize("batch", ["n", 1, 7, 64])
def test_any_batch_gives_the_same_logits(predicted, tiny, bench_model, test_set, by_hand, batch):
    one = bench_model(tiny(batch=batch))
    findings = predicted([one], test_set)[one.id]
    np.testing.assert_allclose(findings.logits, by_hand(test_set.inputs), rtol=1e-4, atol=1e-4)
    assert (findings.ranks == 0).mean() == 0.8


@in_this_process
@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 3, 4), (0, 1, 2, 3)), ((3, 4, 2), (0, 2, 3, 1)), ((24,), (0, 1, 2, 3))]
)
def test_any_layout_sees_the_same_pixels(predicted, tiny, bench_model, test_set, by_hand, shape, axes):
    pre = Preprocessing(mean=(0.4, 0.5), std=(0.2, 0.3))
    one = bench_model(tiny(shape=shape), preprocessing=pre)
    expected = by_hand(test_set.inputs, pre=pre, axes=axes)
    np.testing.assert_allclose(predicted([one], test_set)[one.id].logits, expected, rtol=1e-4, atol=1e-4)


@in_this_process
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.02), ("float64", 1e-4)])
def test_any_type_of_input(predicted, tiny, bench_model, test_set, by_hand, dtype, tolerance):
    one = bench_model(tiny(dtype=dtype))
    np.testing.assert_allclose(predicted([one], test_set)[one.id].logits, by_hand(test_set.inputs), atol=tolerance)


@in_this_process
def test_a_uint8_input_gets_pixels(predicted, tiny, bench_model, test_set, by_hand):
    one = bench_model(tiny(dtype="uint8"))
    expected = by_hand(test_set.inputs, pre=Preprocessing(scale=1))
    np.testing.assert_allclose(predicted([one], test_set)[one.id].logits, expected, rtol=1e-4)


def test_models_of_different_preprocessing_do_not_mix(predicted, tiny, bench_model, test_set, by_hand):
    raw, scaled = Preprocessing(scale=1.0), Preprocessing(scale=255.0)
    bench_models = [
        bench_model(tiny(name, seed=seed), preprocessing=pre)
        for name, seed, pre in (("a", 0, raw), ("b", 1, scaled), ("c", 2, raw), ("d", 3, scaled))
    ]
    findings = predicted(bench_models, test_set)
    for seed, model in enumerate(bench_models):
        expected = by_hand(test_set.inputs, seed=seed, pre=model.card.preprocessing)
        np.testing.assert_allclose(findings[model.id].logits, expected, rtol=1e-4, atol=1e-3)


def test_a_model_the_runtime_refuses_leaves_the_others(predicted, tiny, bench_model, test_set):
    broken, sound = bench_model(tiny("broken", op="Unheard")), bench_model(tiny("sound"))
    findings = predicted([broken, sound], test_set)
    assert findings["broken"].status == "error"
    assert "Unheard" in findings["broken"].reason
    assert isinstance(findings["sound"], Predictions)


def test_a_model_that_kills_the_process_is_left_out(predicted, tiny, bench_model, test_set, monkeypatch):
    real = runner.run_job

    def dies_of_the_second(job, *rest, **options):
        ids = [model.id for model in job.models]
        if "b" in ids:
            n = ids.index("b")
            real(
                dataclasses.replace(job, models=job.models[:n], files=job.files[:n], batches=job.batches[:n]),
                *rest,
                **options,
            )
            raise WorkerError("killed", "", "b")
        return real(job, *rest, **options)

    monkeypatch.setattr(runner, "run_job", dies_of_the_second)
    findings = predicted([bench_model(tiny(name, seed=n)) for n, name in enumerate("abc")], test_set)
    assert [isinstance(findings[name], Predictions) for name in "abc"] == [True, False, True]
    assert findings["b"].reason == "killed"


@in_this_process
def test_models_of_one_file_run_once(predicted, tiny, bench_model, test_set, monkeypatch):
    """As a pretrained teacher of several seeds; inputs that are prepared in another way are others."""
    ran, real = [], runner.run_job
    monkeypatch.setattr(
        runner, "run_job", lambda job, *r, **o: ran.extend(m.id for m in job.models) or real(job, *r, **o)
    )
    models = [bench_model(tiny(name)) for name in "ab"] + [bench_model(tiny("c", seed=1))]
    halved = bench_model(tiny("d"))
    halved = dataclasses.replace(
        halved, card=halved.card.model_copy(update={"preprocessing": Preprocessing(mean=(0.5,), std=(0.5,))})
    )
    findings = predicted([*models, halved], test_set)
    assert sorted(ran) == ["a", "c", "d"]
    assert [findings[name].card.id for name in "abcd"] == list("abcd")
    np.testing.assert_array_equal(findings["a"].logits, findings["b"].logits)
    assert not np.array_equal(findings["a"].logits, findings["d"].logits)


def test_logits_of_an_earlier_pass_are_not_taken_for_this_ones(
    predicted, tiny, bench_model, test_set, tmp_path, monkeypatch
):
    def dies(*_, **__):
        raise WorkerError("killed", "", None)

    np.save(tmp_path / "logits-0.npy", np.zeros((50, 6), np.float32))
    monkeypatch.setattr(runner, "run_job", dies)
    findings = predicted([bench_model(tiny())], test_set)["tiny"]
    assert (findings.status, findings.reason) == ("error", "killed")


@in_this_process
def test_classes_must_fit_the_labels(predicted, tiny, bench_model, test_set):
    with pytest.raises(InputError, match="distinguishes 3 classes, but the data has at least 6"):
        predicted([bench_model(tiny(classes=3))], test_set)
    with pytest.raises(InputError, match="distinguishes 6 classes, but the data has 100"):
        predicted([bench_model(tiny())], dataclasses.replace(test_set, classes=100))
    more = predicted([bench_model(tiny("more", classes=9))], TestSet(test_set.inputs, test_set.labels))
    assert more["more"].logits.shape == (50, 9)


@in_this_process
def test_a_test_part_without_the_last_class_fits_the_right_model(predicted, tiny, bench_model, test_set):
    seen = test_set.labels < 5
    part = TestSet(test_set.inputs[seen], test_set.labels[seen], classes=None)
    assert isinstance(predicted([bench_model(tiny())], part)["tiny"], Predictions)


@in_this_process
@pytest.mark.parametrize(("threads", "text"), [(1, "1 thread,"), (2, "2 threads,")])
def test_the_source_counts_its_threads(context, tiny, bench_model, test_set, threads, text):
    models = [bench_model(tiny())]
    assert text in predict(context(models, test_set), models, test_set, threads)["tiny"].source


@in_this_process
def test_logits_that_are_no_numbers_are_invalid(predicted, tiny, bench_model, test_set):
    failure = predicted([bench_model(tiny(bias=np.inf))], test_set)["tiny"]
    assert (failure.status, failure.reason) == ("invalid", "50 of 50 outputs hold NaN or infinity")
    assert failure.source.startswith("onnxruntime cpu")


@in_this_process
def test_progress_ends_at_the_end(predicted, tiny, bench_model, test_set, watcher):
    predicted([bench_model(tiny("a")), bench_model(tiny("b"))], test_set)
    assert all(0 <= done <= total == 1 for done, total, _ in watcher.steps)
