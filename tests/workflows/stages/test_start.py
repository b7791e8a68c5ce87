import torch

from kdbench.distill.training import fit
from kdbench.progress import Silent
from kdbench.recipe.loading import load_recipe
from kdbench.workflows.stages.start import CheckedRun, opened_folder


def test_a_run_removes_the_checkpoints_that_complete_trainings_left(tmp_path):
    fit.adopt(torch.nn.Linear(1, 1), tmp_path / "checkpoints" / "student", "key", seed=0)
    checkpoints = tmp_path / "checkpoints" / "student" / "unfinished"
    checkpoints.mkdir()
    (checkpoints / "key.json").write_text('{"key": "key"}')
    with opened_folder(CheckedRun(load_recipe("digits"), None, {}), tmp_path, Silent(), resume=True):
        assert not checkpoints.exists()
