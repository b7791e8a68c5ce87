"""Texts are those of onnxruntime 1.22 to 1.31 and OpenVINO 2026.4."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from kdbench.worker.faults import describe, remedy

ROOT = "/onnxruntime_src/onnxruntime/core/"
FAIL = "[ONNXRuntimeError] : 1 : FAIL : "
LOAD = f"{FAIL}Load model from /a b/c.onnx failed:{ROOT}"
RUN = f"{FAIL}Non-zero status code returned while running Reshape node. Name:"
RESHAPED = "The input tensor cannot be reshaped to the requested shape. Input shape:{2,4}, requested shape:{1,4}"
SIGNATURE = "onnxruntime::Model::Model(onnx::ModelProto&&, const PathString&, const onnxruntime::logging::Logger&)"
SHORT = "void onnxruntime::Validate(const std::unordered_map<std::__cxx11::basic_string<char>, int>&, int)"
INITIALIZING = f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: {ROOT}initializer.cc:43 "
CORE = "Exception from src/inference/src/cpp/core.cpp:"
FRONT = "FrontEnd API failed with OpConversionFailure:\n"
TORCH = "a text of torch's, at module.cc:12 std::f(int) it stays"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{LOAD}model.cc:18 {SIGNATURE} Unsupported, max supported: 13\n", "Unsupported, max supported: 13"),
        (f"{LOAD}utils.h:46 {SHORT} Opset 99 is under development", "Opset 99 is under development"),
        (
            f"{RUN}'r' Status Message: {ROOT}reshape.h:9 a::B::B(const a::T&, bool) x == y was false. {RESHAPED}\n",
            f"Reshape node r: {RESHAPED}",
        ),
        (
            f"{RUN}'' Status Message: {ROOT}c.h:42 const T* a::Context::Input(int) const [with T = a::X] Missing: x",
            "Reshape node: Missing: x",
        ),
        (
            f"{RUN}'' Status Message: helper.h:59 Compute MatMul dimension mismatch",
            "Reshape node: MatMul dimension mismatch",
        ),
        (f"{INITIALIZING}a::I::I(const Path&) {FAIL}open file x.data fail", "open file x.data fail"),
        (TORCH, TORCH),
        (
            f"{CORE}84:\nCheck 'a || util::b(c)' failed at src/front/x.cpp:117:\n{FRONT}No conversion rule found\n\n",
            "No conversion rule found",
        ),
        (
            f"{CORE}117:\nException from src/plugin.cpp:54:\nNotFound: Unsupported property FOO\n",
            "Unsupported property FOO",
        ),
        ("", "RuntimeError"),
    ],
)
def test_what_matters_is_shown_without_places_and_signatures(text, shown):
    assert describe(RuntimeError(text)) == shown


def test_both_ends_of_a_long_text_stay():
    shown = describe(RuntimeError(f"[ONNXRuntimeError] : 10 : INVALID_GRAPH : In Node {'x ' * 900}, Error No Op"))
    assert shown.startswith("In Node")
    assert shown.endswith("Error No Op")
    assert len(shown) < 510


@pytest.mark.parametrize("name", ["x", "a ", "a::", "(", "x.cc:1 "])
def test_a_message_of_a_million_characters_is_shortened_first(name):
    shown = describe(RuntimeError(f"[ONNXRuntimeError] : 10 : INVALID_GRAPH : In Node {name * 1_000_000}, Error No Op"))
    assert shown.endswith("Error No Op")
    assert len(shown) < 510


def load(opset=17, ir=8, domain=""):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], domain=domain)], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("nobody", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 4), np.float32)})


@pytest.mark.parametrize(
    ("options", "says", "advice"),
    [
        ({"ir": 99}, "max supported IR version", "model.ir_version = "),
        ({"opset": 99}, "Current official support for domain ai.onnx is till opset", "opset_version="),
        ({"domain": "nobody"}, "nobody:Relu", "standard operators"),
        ({"domain": "unknown"}, "unknown", "standard operators"),
    ],
)
def test_files_that_this_onnxruntime_does_not_load(options, says, advice):
    with pytest.raises(Exception, match="ONNXRuntimeError") as caught:
        load(**options)
    shown = describe(caught.value)
    assert says in shown
    assert "::" not in shown.replace("nobody:Relu", "")
    assert advice in remedy(shown)
    assert remedy("something else") is None
