"""A quantized student through the pipeline: how it begins, what its card and its report say."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from kdbench.distill.quantize import deployed, with_fake_quantization
from kdbench.errors import InputError
from kdbench.export.onnx import export_onnx
from kdbench.measure.bench_model import EMULATED, network_of
from kdbench.models import build
from kdbench.progress import Silent
from kdbench.recipe import Quantize
from kdbench.recipe.loading import recipe_from
from kdbench.results.cards import Bits, ModelCard
from kdbench.results.records import missing
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import Exported, export_all, quantization_warnings
from kdbench.workflows.study import networks
from kdbench.workflows.study.plan import plan
from kdbench.workflows.study.run_data import load_run_data
from kdbench.workflows.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    """A run's folder with the files of a student of two seeds."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    torch.manual_seed(0)
    network = with_fake_quantization(build("convnet", (1, 8, 8), 5, widths=[4, 4]), Quantize(weight_bits=3)).train()
    network(torch.rand(4, 1, 8, 8))
    folder.model("s-seed1").parent.mkdir(exist_ok=True)
    export_onnx(deployed(network), (1, 8, 8), folder.model("s-seed1"))
    shutil.copy(folder.model("s-seed1"), folder.model("s-seed2"))
    return folder


def exported(id_: str, bits: Bits | None, refused: str | None = None) -> Exported:
    card = ModelCard(
        id=id_, name=id_.partition("-")[0], role="student", bits=bits, file=f"models/{id_}.onnx", sha256="0",
        input_shape=(1, 8, 8), classes=5, parameters=2,
    )  # fmt: skip
    facts = SimpleNamespace(sample_shape=(1, 8, 8))
    return Exported(None, card, facts, missing(id_, "parity_max_abs", "unknown"), refused)  # type: ignore[arg-type]


BITS = Bits(weights=3, activations=8, first_last=8)


def test_the_report_says_how_bits_are_kept_and_what_computes_them_once_for_all_seeds(folder):
    (warning,) = quantization_warnings([exported("s-seed1", BITS), exported("s-seed2", BITS)], folder)
    assert (warning.code, warning.model) == ("quantized", "s-seed1")
    assert "weights of 3 bits and activations of 8 (8 in its first and last layer)" in warning.message
    assert "1 of 3 layers in integers" in warning.message
    assert "8-bit" in warning.remedy


def test_models_in_full_precision_and_models_that_are_not_measured_are_not_mentioned(folder):
    exports = [exported("t", None), exported("s-seed1", BITS, refused="strays")]
    assert list(quantization_warnings(exports, folder)) == []


SMALL = {"name": "convnet", "widths": [8, 16]}


def content(**student):
    return {
        "name": "small",
        "data": {"name": "digits", "validation": 0.2},
        "training": {"epochs": 8, "batch": 64, "threads": 1, "optimizer": {"name": "adamw", "lr": 0.01}},
        "teacher": [{"name": "teacher", "model": SMALL}],
        "student": [
            {"name": "low", "model": SMALL, "quantize": {"weight_bits": 3}, "training": {"epochs": 3}, **student}
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
    assert quantized.card.training.curve[-1].validation_top1 > 0.7


def test_quantized_sub_students_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(InputError, match="quantize and sub_students"):
        train(recipe_from(content(sub_students={"count": 2, "features": 4})), tmp_path / "out")
    assert not (tmp_path / "out").exists()
