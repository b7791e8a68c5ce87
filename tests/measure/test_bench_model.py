from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kdbench.measure.bench_model import EMULATED, UNKNOWN_NETWORK, USER_CODE, Refusal, TestSet, network_of
from kdbench.measure.timed import compared, students
from kdbench.results.cards import Bits, ModelCard
from kdbench.results.preprocessing import Geometry
from kdbench.worker.jobs import Network


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        id="a",
        name="a",
        role="student",
        architecture="dense",
        options={"hidden": [4]},
        weights="checkpoints/a/weights.safetensors",
        file="models/a.onnx",
        sha256="0",
        input_shape=(1, 8, 8),
        classes=10,
        parameters=1,
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("models/a.onnx", "checkpoints/a/weights.safetensors"):
        (tmp_path / "run" / name).parent.mkdir(parents=True)
        (tmp_path / "run" / name).touch()
    return tmp_path / "run"


def test_a_model_of_a_run_has_its_network_in_the_runs_folder(card, run):
    weights = run / "checkpoints" / "a" / "weights.safetensors"
    expected = Network("kdbench.models:build", ("dense", (1, 8, 8), 10), {"hidden": [4]}, str(weights))
    assert network_of(card, run / "models" / "a.onnx") == expected


def test_a_file_without_a_card_is_foreign(run):
    assert network_of(None, run / "models" / "a.onnx") is UNKNOWN_NETWORK


def test_a_quantized_network_is_only_emulated_by_torch(card, run):
    quantized = card.model_copy(update={"bits": Bits(weights=3, activations=8, first_last=8)})
    result = network_of(quantized, run / "models" / "a.onnx")
    assert result is EMULATED
    assert "onnxruntime" in str(result.hint)


def test_a_card_runs_no_code_that_it_names(card, run):
    pointing = card.model_copy(update={"architecture": "os:system", "options": {"command": "touch surprise"}})
    assert network_of(pointing, run / "models" / "a.onnx") is USER_CODE


@pytest.mark.parametrize("missing", ["architecture", "weights", "classes"])
def test_a_card_that_does_not_say_enough_is_refused(card, run, missing):
    result = network_of(card.model_copy(update={missing: None}), run / "models" / "a.onnx")
    assert isinstance(result, Refusal)
    assert "--resume" in str(result.hint)


def test_a_file_that_was_moved_has_lost_its_weights(card, run, tmp_path):
    result = network_of(card, (run / "models" / "a.onnx").rename(tmp_path / "a.onnx"))
    assert isinstance(result, Refusal)
    assert "checkpoints/a/weights.safetensors" in result.reason


@pytest.mark.parametrize("weights", ["../outside.safetensors", "{tmp}/outside.safetensors", "link.safetensors"])
def test_a_card_cannot_point_outside_its_run(card, run, tmp_path, weights):
    (tmp_path / "outside.safetensors").touch()
    (run / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    pointing = card.model_copy(update={"weights": weights.format(tmp=tmp_path)})
    assert isinstance(network_of(pointing, run / "models" / "a.onnx"), Refusal)


@pytest.mark.parametrize(
    "odd", [{"weights": "a\0b"}, {"weights": "a" * 5000}, {"weights": "circle"}, {"weights": "models"}, {"weights": ""}]
)
def test_a_card_that_names_what_cannot_be_a_file_is_refused(card, run, odd):
    (run / "circle").symlink_to(run / "circle")
    result = network_of(card.model_copy(update=odd), run / "models" / "a.onnx")
    assert isinstance(result, Refusal)
    assert len(result.reason) < 200


@pytest.mark.parametrize("file", ["{run}/models/a.onnx", "", ".", "../models/a.onnx", "/"])
def test_a_card_whose_own_place_is_none_is_taken_for_one_that_was_moved(card, run, file):
    result = network_of(card.model_copy(update={"file": file.format(run=run)}), run / "models" / "a.onnx")
    assert isinstance(result, Refusal)
    assert "in its run's folder" in result.reason


def test_the_hash_of_a_test_set_does_not_depend_on_the_order_of_the_models():
    whole, small = np.zeros((2, 1, 4, 4), np.uint8), np.zeros((2, 1, 2, 2), np.uint8)
    labels, squashed = np.zeros(2, np.int64), Geometry(mode="squash", resize=(2, 2))
    arrays = {Geometry(): whole, squashed: small}
    hashes = {TestSet(first, labels, in_geometry=arrays).sha256() for first in (whole, small)}
    assert hashes == {TestSet(whole, labels).sha256()}
    assert TestSet(small, labels, in_geometry={squashed: small}).sha256() == TestSet(small, labels).sha256()


def test_a_variant_is_compared_with_its_source_first_and_with_the_teacher_behind_it():
    models = [
        SimpleNamespace(id="t", teacher=None, behind=None),
        SimpleNamespace(id="s", teacher="t", behind=None),
        SimpleNamespace(id="t8", teacher="t", behind="t"),
        SimpleNamespace(id="s8", teacher="s", behind="t"),
        SimpleNamespace(id="gone", teacher="s", behind="nobody"),
    ]
    pairs = [(teacher.id, model.id) for teacher, model in compared(models)]
    assert pairs == [("t", "s"), ("t", "t8"), ("s", "s8"), ("s", "gone"), ("t", "s8")]
    assert [(teacher.id, model.id) for teacher, model in students(models)] == pairs[:-1]
