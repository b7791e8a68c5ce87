import numpy as np
import pytest

from kdbench import data
from kdbench.data.selection import cut_validation
from kdbench.recipe.loading import recipe_from
from kdbench.results.preprocessing import Preprocessing
from kdbench.workflows.study.analyses import analyses_of, fixed_sample
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import RunData

KD = [{"method": "kd"}]


@pytest.fixture(scope="module")
def run_data():
    digits = data.load("digits")
    train, validation = cut_validation(digits.train, 0.2, 0)
    return RunData(digits.only(("test",)), "digits", train, validation, Preprocessing())


def analysed(run_data, *students, **keys):
    content = {"name": "tiny", "data": {"name": "digits"}, "teacher": [{"name": "t", "model": "mlp"}], **keys}
    recipe = recipe_from({**content, "student": [{"model": "mlp", **student} for student in students]})
    return analyses_of(recipe, [job for job in plan(recipe) if job.part is None], run_data)


def test_a_fixed_share_of_every_class_stands_for_all(run_data):
    result = analysed(run_data, {"name": "s"}, analysis={"train_samples": 200})
    images = result.training["s"]
    assert abs(images.drawn.sum() - 200) <= 10
    counts = np.bincount(images.true_labels[images.drawn])
    assert counts.max() - counts.min() <= 2
    assert len(images.images) == images.drawn.sum()
    again = analysed(run_data, {"name": "s"}, analysis={"train_samples": 200}).training["s"]
    np.testing.assert_array_equal(images.images, again.images)
    assert result.class_names == tuple("0123456789")


def test_models_of_the_same_training_images_share_them(run_data):
    result = analysed(
        run_data,
        {"name": "a"},
        {"name": "b", "data": {"augment": "flip"}},
        {"name": "c", "data": {"subset": {"half": "D0"}}},
    )
    assert result.training["a"] is result.training["b"] is result.training["t"]
    assert result.training["c"] is not result.training["a"]
    assert len(result.training["c"].labels) < len(result.training["a"].labels)


def test_every_wrong_label_is_looked_at_with_what_it_was(run_data):
    noisy = {"name": "s", "data": {"label_noise": {"share": 0.1}}}
    images = analysed(run_data, noisy, analysis={"train_samples": 50}).training["s"]
    part = run_data.part_of(
        recipe_from(
            {
                "name": "x",
                "data": {"name": "digits"},
                "teacher": [{"name": "t", "model": "mlp"}],
                "student": [{"model": "mlp", **noisy}],
            }
        )
        .student[0]
        .data
    )
    assert images.flipped.sum() == len(part.flipped) > 100
    np.testing.assert_array_equal(images.labels[images.flipped], part.split.labels[part.flipped])
    np.testing.assert_array_equal(images.true_labels[images.flipped], part.true_labels[part.flipped])
    assert images.drawn.sum() < 70
    assert not images.flipped[images.drawn].all()


def test_no_samples_leave_only_wrong_labels(run_data):
    result = analysed(run_data, {"name": "s", "data": {"label_noise": {"count": 7}}}, analysis={"train_samples": 0})
    assert result.training["s"].flipped.tolist() == [True] * 7
    assert not result.training["s"].drawn.any()
    assert len(result.training["t"].labels) == 0


@pytest.mark.parametrize(("samples", "expected"), [(0, 0), (30, 30), (10**6, 90)])
def test_how_many_are_drawn(samples, expected):
    assert fixed_sample(np.arange(90) % 3, samples).sum() == expected


def test_a_distilled_student_is_contrasted_with_the_one_of_its_network_on_labels_alone(run_data):
    result = analysed(
        run_data,
        {"name": "wide", "model": {"name": "mlp", "widths": [9]}},
        {"name": "alone"},
        {"name": "kd", "terms": KD},
        {"name": "kd-9", "model": {"name": "mlp", "widths": [9]}, "terms": KD},
        {"name": "kd-5", "model": {"name": "mlp", "widths": [5]}, "terms": KD},
        {"name": "begun", "start": {"share": 0.5}},
        analysis={"std": "unbiased"},
    )
    assert result.independent == {"kd": "alone", "kd-9": "wide"}
    assert result.std == "unbiased"


def test_baselines_are_the_student_on_the_same_labels_and_what_reported_differences_subtract(run_data):
    few = {"subset": {"half": "D0"}}
    difference = {"model": "hint", "minus": "kd", "metric": "top1", "value": "1 points"}
    result = analysed(
        run_data,
        {"name": "alone"},
        {"name": "kd", "terms": KD},
        {"name": "hint", "terms": KD},
        {"name": "few", "data": few, "terms": KD},
        {"name": "mixed", "data": {"augment": "mixup"}, "terms": KD},
        reported=[difference, {"model": "t", "metric": "top1", "value": 0.9}],
        seeds=[0, 1],
    )
    seeds = (0, 1)
    assert result.baselines == {
        **{f"kd-seed{seed}": (f"alone-seed{seed}",) for seed in seeds},
        **{f"mixed-seed{seed}": (f"alone-seed{seed}",) for seed in seeds},
        **{f"hint-seed{seed}": (f"alone-seed{seed}", f"kd-seed{seed}") for seed in seeds},
    }, "the student of few images has none of its own images"
    assert result.independent["few-seed0"] == "alone-seed0"


def test_a_student_that_differs_in_more_than_its_teachers_has_no_baseline_of_its_own(run_data, tmp_path):
    ready = {"name": "ready", "model": {"name": "mlp", "widths": [9]}, "weights": "w.safetensors"}
    result = analysed(
        run_data,
        {"name": "alone"},
        {"name": "kd", "terms": KD},
        {"name": "rounded", "terms": KD, "quantize": {"weight_bits": 4}},
        {"name": "begun", "terms": KD, "start": {"share": 0.5}},
        {"name": "tuned", "terms": KD, "weights": "w.safetensors"},
        {**ready, "training": {"epochs": 0}},
        {"name": "kd-9", "terms": KD, "model": {"name": "mlp", "widths": [9]}},
    )
    assert result.baselines == {"kd": ("alone",)}
    assert result.independent == {**dict.fromkeys(("kd", "rounded", "begun", "tuned"), "alone"), "kd-9": "ready"}, (
        "for mismatches it only matters what they answer"
    )


def test_only_a_difference_in_an_accuracy_on_the_test_set_makes_a_baseline(run_data):
    difference = {"model": "b", "minus": "a", "value": 1}
    reported = [
        {**difference, "metric": "latency_p50_ns", "axes": {"batch": 1}},
        {**difference, "metric": "loss"},
        {**difference, "metric": "top1", "axes": {"part": "train"}},
        {**difference, "metric": "top5", "model": "c"},
    ]
    students = [{"name": name, "model": {"name": "mlp", "widths": [n]}} for n, name in enumerate("abc", 5)]
    assert analysed(run_data, *students, reported=reported).baselines == {"c": ("a",)}


def test_of_several_independent_students_the_one_on_the_same_images_counts(run_data):
    noise = {"label_noise": {"share": 0.1}}
    result = analysed(
        run_data,
        {"name": "clean"},
        {"name": "noisy", "data": noise},
        {"name": "kd-noisy", "data": noise, "terms": KD},
        {"name": "kd-clean", "terms": KD},
        seeds=[0, 1],
    )
    assert result.independent["kd-noisy-seed1"] == "noisy-seed1"
    assert result.independent["kd-clean-seed0"] == "clean-seed0"
