import cases
import pytest
import torch
from networks import tiny
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from kdbench.distill import module
from kdbench.distill.compiling import check_compiler, compiled, missing_compiler
from kdbench.errors import InputError


def test_without_a_compiler_compile_is_refused(monkeypatch):
    def none_found(*_):
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    assert missing_compiler("cpu") == "a C++ compiler"
    with pytest.raises(InputError, match="lacks a C"):
        check_compiler("cpu")


def test_with_one_it_is_let_be(monkeypatch):
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda *_: "g++")
    check_compiler("cpu")


def test_a_compiled_network_shares_its_weights():
    network = tiny()
    made = compiled(network)
    assert {id(p) for p in made.parameters()} == {id(p) for p in network.parameters()}


def test_layers_are_tapped_in_the_network_as_it_is_and_all_other_steps_are_compiled(tmp_path, monkeypatch):
    steps = []

    def counting(network):
        def call(images):
            steps.append(torch.is_grad_enabled())
            return network(images)

        return call

    monkeypatch.setattr(module, "compiled", counting)
    weights, _ = cases.train(cases.two_stages, tmp_path / "compiled", compile=True)
    # Hints, which tap the student, in two of four epochs of seven batches; validation is never compiled.
    assert steps == [True] * 14
    expected, _ = cases.train(cases.two_stages, tmp_path / "eager")
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
