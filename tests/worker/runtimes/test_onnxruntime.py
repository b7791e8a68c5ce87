from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from kdbench.extras import onnxruntime_for_cuda
from kdbench.measure.staging import null_model, stage
from kdbench.worker.faults import describe
from kdbench.worker.loads import Calls, time_calls
from kdbench.worker.runtimes import ProviderError
from kdbench.worker.runtimes.onnxruntime import FAULTS, LoadedModel


@pytest.fixture
def model(tiny, bench_model, test_set, tmp_path):
    one = bench_model(tiny())
    return stage([one], test_set, tmp_path, 0)[one.id]


def test_a_target_is_what_onnxruntime_gives(model):
    inputs = np.random.default_rng(0).random((5, 2, 3, 4), dtype=np.float32)
    (expected,) = onnxruntime.InferenceSession(model.path).run(["y"], {"x": inputs})
    np.testing.assert_array_equal(LoadedModel(model, provider="cpu", threads=1)(inputs), expected)


def test_every_setting_is_stated(model):
    options = LoadedModel(model, provider="cpu", threads=2, spinning=False)._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_a_provider_that_is_not_there_is_an_error(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="no CUDA") as caught:
        LoadedModel(model, provider="cuda", threads=1)
    assert "onnxruntime-gpu" in caught.value.hint


@pytest.mark.parametrize(("boards", "begin"), [(None, "NVML finds no"), (0, "NVML finds no"), (1, "")])
def test_the_hint_looks_for_a_gpu(model, monkeypatch, boards, begin):
    monkeypatch.setattr("kdbench.worker.runtimes.onnxruntime.query", lambda _: boards)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError) as caught:
        LoadedModel(model, provider="cuda", threads=1)
    assert caught.value.hint.startswith(begin or onnxruntime_for_cuda())
    assert onnxruntime_for_cuda() in caught.value.hint


def test_a_provider_that_is_promised_and_not_there_is_an_error(model, monkeypatch, capfd):
    """The real class: what it does where the library has no such provider, or one that cannot be loaded."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(ProviderError) as caught, pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        LoadedModel(model, provider="cuda", threads=1)
    assert "onnxruntime-gpu" in caught.value.hint
    assert "Falling back" not in capfd.readouterr().out


def test_faults_are_told_in_one_line_without_numbers(model):
    target = LoadedModel(model, provider="cpu", threads=1)
    with pytest.raises(FAULTS) as caught:
        target(np.zeros((1, 9, 9, 9), np.float32))
    text = describe(caught.value)
    assert text.startswith("Got invalid dimensions")
    assert "\n" not in text


def test_the_null_graph_runs(tmp_path):
    null = null_model(tmp_path)
    target = LoadedModel(null, provider="cpu", threads=1)
    ns = np.empty(10, np.int64)
    time_calls(Calls(*target.bind([np.ones((1, 1, 1, 1), np.float32)])), ns)
    assert (ns > 0).all()


class Log(list):
    """What was called, in order."""

    def of(self, name, result=None):
        return lambda *arguments, **_: (self.append((name, *arguments)), result)[1]


@pytest.fixture
def cuda(monkeypatch):
    """An onnxruntime with a CUDA device that logs what it is told; a session ends up with `providers`."""
    log = Log()

    class Binding:
        def __getattr__(self, name):
            return log.of(name)

    class Session:
        def __init__(self, path, options, providers, **keywords):
            log.append(("session", options, providers, keywords))

        def get_providers(self):
            return log.providers

        def get_inputs(self):
            return [SimpleNamespace(name="x", shape=["n", *log.shape[1:]], type="tensor(float)")]

        def get_outputs(self):
            return [SimpleNamespace(name="y", shape=log.shape, type="tensor(float)")]

        def io_binding(self):
            return Binding()

        def run_with_iobinding(self, binding):
            log.append(("run", binding))

    log.providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    log.shape = ["n", 6]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", log.of("preload"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    values = SimpleNamespace(
        ortvalue_from_numpy=log.of("copy", "input on device"),
        ortvalue_from_shape_and_type=log.of("place", "output on device"),
    )
    monkeypatch.setattr(onnxruntime, "OrtValue", values)
    return log


def test_on_a_device_everything_is_in_place_before_the_clock_starts(model, cuda):
    inputs = np.zeros((5, 2, 3, 4), np.float32)
    run, (arguments,) = LoadedModel(model, provider="cuda", threads=1).bind([inputs])
    names = [name for name, *_ in cuda]
    assert names == [
        "preload",
        "session",
        "copy",
        "bind_ortvalue_input",
        "place",
        "bind_ortvalue_output",
        "synchronize_inputs",
    ]
    assert ("place", [5, 6], np.float32, "cuda", 0) in cuda
    assert ("bind_ortvalue_input", "x", "input on device") in cuda
    assert ("bind_ortvalue_output", "y", "output on device") in cuda
    cuda.clear()
    run(*arguments)
    assert [name for name, *_ in cuda] == ["run", "synchronize_outputs"]


def test_an_output_of_unknown_shape_is_bound_to_the_device(model, cuda):
    cuda.shape = ["n", "classes"]
    LoadedModel(model, provider="cuda", threads=1).bind([np.zeros((5, 2, 3, 4), np.float32)])
    assert ("bind_output", "y", "cuda") in cuda
    assert "place" not in [name for name, *_ in cuda]


def test_on_a_device_no_node_may_fall_back(model, cuda):
    LoadedModel(model, provider="cuda", threads=1)
    (options, providers, keywords) = next(call[1:] for call in cuda if call[0] == "session")
    assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    assert providers == [("CUDAExecutionProvider", {"use_tf32": "0"})]
    assert keywords == {"enable_fallback": 0}


def test_a_provider_that_was_dropped_without_a_word_is_an_error(model, cuda):
    cuda.providers = ["CPUExecutionProvider"]
    with pytest.raises(ProviderError, match="cannot be loaded: CPUExecutionProvider would run") as caught:
        LoadedModel(model, provider="cuda", threads=1)
    assert "onnxruntime-gpu" in caught.value.hint
