"""A quantized student through the pipeline: how it begins, what its card and its report say."""

import pytest
import torch
from torch import nn

from kdbench.compress.kernels import kernels_of
from kdbench.errors import InputError
from kdbench.measure.bench_model import EMULATED, network_of
from kdbench.models import MODELS
from kdbench.progress import Silent
from kdbench.recipe.loading import recipe_from
from kdbench.results.cards import Bits
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import export_all
from kdbench.workflows.study import networks
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.train import train

BITS = Bits(weights=3, activations=8, first_last=8)
SMALL = {"name": "convnet", "widths": [8, 16]}


def content(**student):
    return {
        "name": "small",
        "data": {"name": "digits", "validation": 0.2},
        "training": {"epochs": 4, "batch": 64, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}},
        "teacher": [{"name": "teacher", "model": SMALL}],
        "student": [
            {"name": "low", "model": SMALL, "quantize": {"weight_bits": 3}, "training": {"epochs": 2}, **student}
        ],
    }


@pytest.mark.slow
def test_a_quantized_student_begins_where_another_in_full_precision_ended_and_is_exported_in_integers(tmp_path):
    recipe = recipe_from(content(start={"share": 1.0}, terms=[{"method": "kd", "temperature": 1}]))
    folder = RunFolder(train(recipe, tmp_path / "out"))
    run_data, jobs = load_run_data(recipe), plan(recipe)
    teacher, low = jobs
    initial = networks.initialized(low, run_data, folder)
    learned = networks.trained(teacher, run_data.dataset, folder)
    assert all(torch.equal(p, q) for p, q in zip(initial.parameters(), learned.parameters(), strict=True))
    assert initial.blocks[0][0].batches_seen == 0
    full, quantized = export_all(recipe, jobs, run_data, folder, Silent())
    assert (full.card.bits, quantized.card.bits) == (None, BITS)
    assert quantized.refused is None
    assert quantized.facts.weight_bytes < 0.6 * full.facts.weight_bytes
    assert network_of(quantized.card, folder.model("low")) is EMULATED
    assert kernels_of(folder.model("low")).integer
    assert quantized.card.training.curve[-1].validation_top1 > 0.7


class HeadFirst(nn.Module):
    """Its head is made before the layers that it is called after."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(8, classes)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())

    def forward(self, images):
        return self.head(self.body(images))


def test_the_head_of_a_users_network_has_the_bits_of_a_last_layer():
    MODELS.register("head-first")(HeadFirst)
    try:
        recipe = recipe_from(content(model="head-first"))
        network = networks.fresh(plan(recipe)[1], load_run_data(recipe).dataset)
    finally:
        MODELS.forget(__name__)
    assert (network.head.weight_bits, network.body[1].weight_bits, network.body[3].weight_bits) == (8, 8, 3)


def test_quantized_sub_students_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(InputError, match="quantize and sub_students"):
        train(recipe_from(content(sub_students={"count": 2, "features": 4})), tmp_path / "out")
    assert not (tmp_path / "out").exists()
