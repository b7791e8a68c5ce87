"""A pruned student through the pipeline: what it starts from, how its network is built again, what its card says."""

import pytest
import torch

from kdbench.errors import InputError
from kdbench.macs.onnx_counter import count_onnx
from kdbench.measure.bench_model import PRUNED, network_of
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import export_all
from kdbench.workflows.study import networks
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.pruned import removed_file
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.train import train

TEACHER = {"name": "teacher", "model": {"name": "convnet", "widths": [8, 16]}}
HALF = {"name": "half", "prune": {"macs": 0.5, "round_to": 2}, "terms": [{"method": "kd"}]}
AGAIN = {"name": "again", "prune": {"of": "half", "macs": 0.6, "round_to": 1, "scope": "layer"}, "quantize": {}}


def recipe(*students, teacher=TEACHER):
    return recipe_from(
        {
            "name": "small",
            "data": {"name": "digits"},
            "training": {"epochs": 1, "batch": 64, "threads": 1},
            "teacher": [teacher],
            "student": list(students),
        }
    )


@pytest.mark.slow
def test_a_pruned_student_is_a_part_of_its_source_also_where_that_is_pruned_and_quantized(tmp_path):
    small = recipe(HALF, AGAIN)
    folder = RunFolder(train(small, tmp_path / "out"))
    run_data, jobs = load_run_data(small), plan(small)
    teacher, half, _ = jobs
    written = removed_file(folder, half).read_bytes()
    start = networks.initialized(half, run_data, folder)
    whole = networks.trained(teacher, run_data.dataset, folder)
    kept = start.blocks[0][0].weight
    assert all(any(torch.equal(row, other) for other in whole.blocks[0][0].weight) for row in kept)
    assert removed_file(folder, half).read_bytes() == written
    for damaged in ("[]", "{", '{"key": "x", "macs_share": 0.5, "history": [["blocks.0.0", true, [999]]]}'):
        removed_file(folder, half).write_text(damaged, encoding="utf-8")
        with pytest.raises(InputError) as error:
            networks.trained(half, run_data.dataset, folder)
        assert "delete" in (error.value.hint or "")
    removed_file(folder, half).write_bytes(written)
    exports = export_all(small, jobs, run_data, folder, Silent())
    assert [export.refused for export in exports] == [None] * 3
    macs = [count_onnx(folder.model(job.id)).macs for job in jobs]
    assert macs[1] <= 0.5 * macs[0]
    assert macs[2] <= 0.6 * macs[1]
    assert [export.card.pruned and export.card.pruned.of for export in exports] == [None, "teacher", "half"]
    assert exports[1].card.pruned.macs_share == pytest.approx(macs[1] / macs[0])
    assert network_of(exports[1].card, folder.model("half")) is PRUNED
    assert exports[2].card.bits is not None


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"prune": {"macs": 0.5}, "start": {"share": 1}}, "prune and start"),
        ({"prune": {"macs": 0.5}, "weights": "w.pth"}, "prune and weights"),
        ({"prune": {"macs": 0.5}, "sub_students": {}}, "prune and sub_students"),
        ({"prune": {"macs": 0.5}, "model": "dense"}, "leave out its model"),
        ({"prune": {"of": "nobody", "macs": 0.5}, "model": "dense"}, "which the recipe does not have"),
        ({"prune": {"of": "s", "macs": 0.5}, "model": "dense"}, "its own teacher"),
        ({"prune": {"macs": 1}}, "less than 1"),
        ({"prune": {"macs": 0}}, "greater than 0"),
    ],
)
def test_recipes_that_prune_nothing_sensible_are_refused(student, message):
    with pytest.raises(InputError, match=message):
        recipe({"name": "s", **student})


def test_a_file_without_a_network_is_not_pruned():
    with pytest.raises(InputError, match="a file of onnx without a network"):
        recipe({"name": "s", "prune": {"macs": 0.5}}, teacher={"name": "teacher", "weights": "t.onnx"})


def test_a_share_that_cannot_be_reached_is_refused_before_anything_trains(tmp_path):
    with pytest.raises(InputError, match="of the MACs remain"):
        train(recipe({**HALF, "prune": {"macs": 0.01}}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
