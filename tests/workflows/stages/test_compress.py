"""Variants of a recipe's models: what is refused before anything trains, what is written, kept and measured."""

import pytest

from kdbench.errors import InputError
from kdbench.export.onnx import Parity
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.run import run_recipe
from kdbench.workflows.stages import export
from kdbench.workflows.stages.compress import compress_all
from kdbench.workflows.stages.export import WrittenModel, export_all
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.train import train

pytestmark = pytest.mark.usefixtures("short_run")

MODEL = {"name": "convnet", "widths": [8]}
INT8 = {"of": "student", "method": "int8", "calibration_count": 64}


def recipe(*variants, **keys):
    return recipe_from(
        {
            "name": "small",
            "data": {"name": "digits"},
            "training": {"epochs": 1, "batch": 64, "threads": 1},
            "teacher": [{"name": "teacher", "model": "64-16-10"}],
            "student": [{"name": "student", "model": MODEL}],
            "variant": list(variants),
            "measure": {"times": False, "energy": "off"},
            **keys,
        }
    )


@pytest.mark.parametrize(
    ("variant", "message", "hint"),
    [
        ({"method": "int9"}, "'int9'", "int8"),
        ({"calibrater": "mse"}, "'calibrater'", "calibrator"),
        ({"calibrator": "msee"}, "'msee'", ""),
        ({"calibration_count": 5000}, "needs 5000", "calibration_count = "),
    ],
)
def test_what_cannot_be_compressed_is_refused_before_anything_trains(tmp_path, variant, message, hint):
    with pytest.raises(InputError) as error:
        train(recipe({**INT8, **variant}), tmp_path / "out")
    assert "variant 'student-int" in error.value.message
    assert message in error.value.message
    assert hint in (error.value.hint or "")
    assert not (tmp_path / "out").exists()


def test_a_compressed_file_is_not_compressed_again(tmp_path):
    with pytest.raises(InputError, match="already compressed"):
        train(recipe(INT8, {"of": "student-int8", "method": "fp16"}), tmp_path / "out")


@pytest.mark.slow
def test_variants_of_every_seed_are_made_once_and_measured(tmp_path, monkeypatch):
    swept = {**INT8, "name": "s8", "max_drop": 60, "sweep": {"calibrator": ["min-max", "mse"]}}
    fp16 = {"of": "teacher", "method": "fp16"}
    small = recipe(swept, fp16, seeds=[1, 2])
    results = run_recipe(small, tmp_path / "out")
    record, folder = results.record, RunFolder(tmp_path / "out")
    cards = record.cards
    assert {id_ for id_, card in cards.items() if card.role == "variant"} == {
        f"{name}-seed{seed}" for name in ("s8-calibratormin-max", "s8-calibratormse", "teacher-fp16") for seed in (1, 2)
    }
    variant = cards["s8-calibratormse-seed2"]
    assert (variant.name, variant.family, variant.axes) == ("s8-calibratormse", "s8", {"calibrator": "mse"})
    assert (variant.parents, variant.seed, variant.training) == (("student-seed2",), 2, None)
    assert (variant.variant.of, variant.variant.calibration.count) == ("student-seed2", 64)
    assert variant.variant.calibration.data == "digits"
    run_data = load_run_data(small)
    assert variant.variant.held_out.count == len(run_data.validation)  # which no training saw
    assert record.find_pair("s8-calibratormse-seed2", "size_ratio").teacher == "student-seed2"
    for metric, others in (("size_ratio", 2), ("top1_drop", 2), ("negative_flips", 1)):
        teachers = [pair.teacher for pair in record.pair_index.of("s8-calibratormse-seed2", metric)]
        assert teachers == ["student-seed2", "teacher-seed2"][:others]
    top1 = {m.model: m.value for m in record.measurements if m.metric == "top1" and not m.axes}
    drop = record.pair_index.of("s8-calibratormse-seed2", "top1_drop")[1].value
    assert drop == pytest.approx(100 * (top1["teacher-seed2"] - top1["s8-calibratormse-seed2"]))
    assert {m.model for m in record.measurements if m.metric == "integer_share"} == {
        id_ for id_, card in cards.items() if card.role == "variant"
    }
    macs = {m.model: m.value for m in record.measurements if m.metric == "macs"}
    assert macs[variant.id] == macs["student-seed2"]
    assert variant.parameters == cards["student-seed2"].parameters

    warned = {warning.model for warning in record.warnings if warning.code == "kernels"}
    assert all(id_ in cards and id_.endswith("seed1") for id_ in warned)  # what they are depends on the processor

    jobs = plan(small)
    files = [folder.model(id_) for id_ in cards if cards[id_].role == "variant"]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    files[0].unlink()
    as_exported = {id_: WrittenModel(Parity(max_abs=0.0, tolerance=1.0, samples=1), 1) for id_ in cards}
    monkeypatch.setattr(export, "write_file", lambda job, *_: as_exported[job.id])  # without doing it again
    compress_all(small, export_all(small, jobs, run_data, folder, Silent()), run_data, folder, Silent())
    after = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert [content for content, _ in after] == [content for content, _ in before]
    assert [time for _, time in after[1:]] == [time for _, time in before[1:]]
