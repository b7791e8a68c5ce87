"""A model is its file and its external data: a change of either is another model."""

import hashlib

import numpy as np
import onnx
import pytest
from modelfile.graph_parts import graph_of, value
from onnx import helper, numpy_helper

from kdbench.errors import InputError
from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.identity import is_recorded, model_sha256, require_recorded
from kdbench.results.cards import ModelCard
from kdbench.testing.records import file_hashes
from kdbench.workflows.compress import compress_model


def card(sha256):
    return ModelCard(
        id="m", name="m", role="student", file="m.onnx", sha256=sha256, input_shape=(8,), classes=2, parameters=1
    )


def saved(folder, weight, *, external):
    """Write a product of samples with `weight` in every place; with external data, the file itself stays the same."""
    nodes, stored = [helper.make_node("MatMul", ["x", "w"], ["y"])], np.full((8, 2), weight, np.float32)
    model = graph_of([value("x", ["n", 8])], [value("y", ["n", 2])], nodes, [numpy_helper.from_array(stored, "w")])
    (folder / "w.bin").unlink(missing_ok=True)
    onnx.save(model, folder / "m.onnx", save_as_external_data=external, location="w.bin", size_threshold=0)
    return folder / "m.onnx"


def test_without_external_data_the_hash_is_that_of_the_file(tmp_path):
    path = saved(tmp_path, 1, external=False)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_facts(path).sha256 == model_sha256(path) == expected
    require_recorded(card(expected), path, "restore it")


def test_other_external_data_is_another_model(tmp_path):
    path = saved(tmp_path, 1, external=True)
    file, before = path.read_bytes(), read_facts(path).sha256
    assert is_recorded(card(before), path)
    saved(tmp_path, 2, external=True)
    assert path.read_bytes() == file
    assert before != read_facts(path).sha256 == model_sha256(path)
    assert not is_recorded(card(before), path)
    saved(tmp_path, 1, external=True)
    assert read_facts(path).sha256 == before


@pytest.mark.parametrize("content", [b"another model", b"", None])
def test_a_card_describes_one_state_of_a_file(tmp_path, content):
    path = saved(tmp_path, 1, external=False)
    known = card(model_sha256(path))
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(InputError, match="not the file that the record describes") as caught:
        require_recorded(known, path, "restore it")
    assert caught.value.hint == "restore it"


def test_a_variant_of_other_external_data_is_not_kept(tmp_path):
    path = saved(tmp_path, 1, external=True)
    compress_model(path, ["fp16"], out=tmp_path / "out")
    (variant,) = compress_model(path, ["fp16"], out=tmp_path / "out").made
    assert variant.kept
    hashes = file_hashes(path)
    saved(tmp_path, 2, external=True)
    with pytest.raises(InputError, match="another source file"):
        compress_model(path, ["fp16"], out=tmp_path / "out")
    assert file_hashes(path) != hashes
