import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch

from kdbench.worker.decoding import decode
from kdbench.worker.jobs import JobModel
from kdbench.worker.runtimes import ProviderError
from kdbench.worker.runtimes.torch import FAULTS, LoadedModel
from kdbench.worker.runtimes.torch_compiled import FAULTS as COMPILED_FAULTS
from kdbench.worker.runtimes.torch_compiled import CompiledModel

INPUTS = np.random.default_rng(0).standard_normal((5, 2, 3, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """Put torch's settings back: a measuring process has them to itself, this one has not."""
    threads, precision, tf32 = (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
    )
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = tf32


def test_a_target_is_the_network_with_its_weights_in_evaluation_mode(torch_model, network):
    with torch.no_grad():
        expected = network(torch.from_numpy(INPUTS)).numpy()
    np.testing.assert_array_equal(LoadedModel(torch_model, provider="cpu", threads=1)(INPUTS), expected)


def test_a_model_survives_its_journey_as_json(torch_model, network):
    arrived = decode(JobModel, json.loads(json.dumps(dataclasses.asdict(torch_model))))
    with torch.no_grad():
        expected = network(torch.from_numpy(INPUTS)).numpy()
    np.testing.assert_array_equal(LoadedModel(arrived, provider="cpu", threads=1)(INPUTS), expected)


def test_calls_run_in_inference_mode_on_inputs_that_are_in_place(torch_model):
    run, arguments = LoadedModel(torch_model, provider="cpu", threads=1).bind([INPUTS[:1], INPUTS[1:2]])
    assert [array.shape for (array,) in arguments] == [(1, 2, 3, 4)] * 2
    assert run(*arguments[0]).is_inference()
    assert not torch.is_inference_mode_enabled()


def test_every_setting_is_stated(torch_model):
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    LoadedModel(torch_model, provider="cpu", threads=2)
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32


def test_on_cuda_a_call_ends_when_the_device_has_finished(torch_model, monkeypatch):
    """What can be shown without a GPU: which function is timed, and that it waits after the network."""
    target = LoadedModel(torch_model, provider="cpu", threads=1)
    log = []
    target._network = lambda inputs: log.append("network") or inputs
    target._device = torch.device("cuda")
    monkeypatch.setattr(target, "_placed", torch.from_numpy)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append(f"synchronize {device}"))
    run, (arguments,) = target.bind([INPUTS])
    run(*arguments)
    assert log == ["network", "synchronize cuda"]


def test_a_gpu_that_is_not_there_is_an_error(torch_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ProviderError, match="sees no GPU"):
        LoadedModel(torch_model, provider="cuda", threads=1)


def test_weights_of_another_network_are_an_error(torch_model):
    other = dataclasses.replace(torch_model.network, arguments=("dense", (2, 3, 4), 7))
    with pytest.raises(FAULTS):
        LoadedModel(dataclasses.replace(torch_model, network=other), provider="cpu", threads=1)


def test_nothing_is_unpickled(torch_model, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(FAULTS):
        LoadedModel(torch_model, provider="cpu", threads=1)


@pytest.mark.slow
def test_a_compiled_network_says_the_same(torch_model):
    eager, compiled = (load(torch_model, provider="cpu", threads=1) for load in (LoadedModel, CompiledModel))
    np.testing.assert_allclose(compiled(INPUTS), eager(INPUTS), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_shape_too_many_is_an_error_and_not_quietly_run_as_it_stands(torch_model, monkeypatch):
    monkeypatch.setattr("kdbench.worker.runtimes.torch_compiled._MAX_GRAPHS", 1)
    torch.compiler.reset()
    compiled = CompiledModel(torch_model, provider="cpu", threads=1)
    compiled(INPUTS[:2])
    with pytest.raises(COMPILED_FAULTS, match="fullgraph"):
        compiled(INPUTS[:3])
