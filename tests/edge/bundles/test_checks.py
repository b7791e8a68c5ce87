"""What a device cannot load or hold is known before a bundle leaves."""

import numpy as np
import onnx
import pytest
from model_files import _build
from onnx import TensorProto, helper

from kdbench.edge.bundles.checks import (
    Limits,
    limits_of,
    require_bundled_runtime,
    require_fit,
    require_operators,
    too_new,
)
from kdbench.edge.bundles.lowering import lowered, require_same
from kdbench.edge.exchange.plan import Tolerance
from kdbench.errors import InputError
from kdbench.judge.target import load_target, target_from

CRITERION = {"criterion": [{"metric": "macs", "max": 1}]}


def target(**device):
    return target_from({"name": "t", "device": device, **CRITERION})


@pytest.mark.parametrize(
    ("device", "typed", "expected"),
    [
        ({}, {}, None),  # nothing is known of it
        ({}, {"python": "3.9"}, (10, 21)),  # its newest wheel is 1.19.2
        ({}, {"python": "3.10"}, (11, 23)),  # 1.23.2
        ({}, {"python": "3.12"}, None),
        ({"python": r"3\.9"}, {}, (10, 21)),
        ({"libraries": {"onnxruntime": r"1\.17"}}, {}, (9, 20)),
        ({}, {"onnxruntime": "1.18.1"}, (9, 20)),  # not asked itself: at least what the one before it loads
        ({}, {"onnxruntime": "1.22"}, (10, 22)),
        ({}, {"onnxruntime": "1.99"}, None),
        ({"python": r"3\.9"}, {"onnxruntime": "1.17.3"}, (9, 20)),
        ({"python": r"^CPython 3\.9\."}, {}, (10, 21)),
        ({"python": r"3\.1[0-2]"}, {}, None),  # several versions meet it
        ({"python": r"3\.(9|10)"}, {}, None),
        ({"python": "CPython"}, {}, None),
        ({"libraries": {"onnxruntime": r"1\.2\d"}}, {}, None),
        ({"libraries": {"onnxruntime": r"1\.2\d"}}, {"python": "3.10"}, (11, 23)),
    ],
)
def test_what_an_onnxruntime_loads_follows_from_its_version_or_pythons(device, typed, expected):
    limits = limits_of(target(**device), **typed)
    assert (None if limits is None else (limits.ir, limits.opset)) == expected


TOO_OLD = [{"python": "3.8"}, {"onnxruntime": "1.9"}, {"python": "new"}, {"onnxruntime": "latest"}]


@pytest.mark.parametrize("typed", TOO_OLD)
def test_versions_that_no_bundle_runs_on_are_refused(typed):
    with pytest.raises(InputError) as refused:
        limits_of(target(), **typed)
    assert refused.value.hint


def test_a_target_of_another_runtime_gets_no_bundle():
    require_bundled_runtime(load_target("raspberry-pi-5"))
    for name in ("browser-wasm", "microcontroller-class"):
        with pytest.raises(InputError, match="measures with onnxruntime"):
            require_bundled_runtime(load_target(name))


def test_a_file_that_is_too_new_is_written_lower(tmp_path):
    path = tmp_path / "new.onnx"
    model = onnx.load(_build(tmp_path / "m.onnx"))
    model = onnx.version_converter.convert_version(_without_domain(model), 23)
    model.ir_version = 11
    onnx.save(model, path)
    old = Limits(9, 20, "onnxruntime 1.17")
    assert too_new(path, Limits(11, 23, "")) == ""
    assert too_new(path, None) == ""
    assert "IR version 11" in too_new(path, old)
    assert "opset 23" in too_new(path, old)
    file, change = lowered(path, tmp_path / "x", old) if (tmp_path / "x").mkdir() is None else None
    assert change == "opset 23 → 20, IR version 11 → 9"
    assert too_new(file, old) == ""


def test_what_cannot_be_lowered_is_refused_with_what_to_do(tmp_path):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    node = helper.make_node("Gelu", ["x"], ["y"])  # came with opset 20
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]))
    model.opset_import[0].version, model.ir_version = 20, 9
    path = tmp_path / "gelu.onnx"
    onnx.save(model, path)
    with pytest.raises(InputError, match="opset") as refused:
        lowered(path, tmp_path, Limits(9, 17, "onnxruntime"))
    assert "opset_version" in refused.value.hint


def test_a_lowered_file_that_computes_something_else_is_refused():
    outputs, tolerance = np.array([[1.0, 2.0]], np.float32), Tolerance("float32", 0.5, "")
    require_same("m", outputs + 0.4, outputs, tolerance)
    with pytest.raises(InputError, match=r"m returns other outputs with lower versions: they differ by 0\.6"):
        require_same("m", outputs + 0.6, outputs, tolerance)


def test_operators_of_nobody_are_refused(tmp_path):
    require_operators(_build(tmp_path / "m.onnx"), "m")
    with pytest.raises(InputError, match=r"nobody\.Odd"):
        require_operators(_build(tmp_path / "odd.onnx", op="Odd"), "odd")


def test_a_model_that_needs_more_memory_than_there_is_does_not_leave():
    require_fit("m", 10**9, target(memory_bytes="1 GB"))
    require_fit("m", 10**12, target())
    with pytest.raises(InputError, match=r"2\.0 GB"):
        require_fit("m", 2 * 10**9, target(memory_bytes="1 GB"))


def _without_domain(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.opset_import[1]
    return model
