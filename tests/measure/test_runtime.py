import numpy as np
import onnxruntime
import pytest

from kdbench.measure.interleaved import Calls, time_calls
from kdbench.measure.runtime import FAULTS, ProviderError, Target, describe
from kdbench.measure.staging import null_model, stage


@pytest.fixture
def model(tiny, subject, test_set, tmp_path):
    one = subject(tiny())
    return stage([one], test_set, tmp_path, 0)[one.id]


def test_a_target_is_what_onnxruntime_gives(model):
    inputs = np.random.default_rng(0).random((5, 2, 3, 4), dtype=np.float32)
    (expected,) = onnxruntime.InferenceSession(model.path).run(["y"], {"x": inputs})
    np.testing.assert_array_equal(Target(model, provider="cpu", threads=1)(inputs), expected)


def test_every_setting_is_stated(model):
    options = Target(model, provider="cpu", threads=2, spinning=False)._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_provider_that_is_not_there_is_an_error(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="CUDA"):
        Target(model, provider="cuda", threads=1)


def test_a_fallback_to_another_provider_is_an_error(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(FAULTS), pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        Target(model, provider="cuda", threads=1)


def test_faults_are_told_in_one_line_without_numbers(model):
    target = Target(model, provider="cpu", threads=1)
    with pytest.raises(FAULTS) as caught:
        target(np.zeros((1, 9, 9, 9), np.float32))
    text = describe(caught.value)
    assert text.startswith("Got invalid dimensions")
    assert "\n" not in text


def test_the_null_graph_runs(tmp_path):
    null = null_model(tmp_path)
    target = Target(null, provider="cpu", threads=1)
    ns = np.empty(10, np.int64)
    time_calls(Calls(*target.bind([np.ones((1, 1, 1, 1), np.float32)])), ns)
    assert (ns > 0).all()
