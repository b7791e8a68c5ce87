import json
import subprocess
import sys

import pytest

from kdbench.worker.runtimes import runtime


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("probes.latency, kdbench.worker.probes.admission", {"onnxruntime", "torch"}),
        ("runtimes.onnxruntime", {"torch"}),
        ("runtimes.torch_compiled", {"onnxruntime"}),  # imports runtimes.torch
    ],
)
def test_a_process_that_measures_one_runtime_loads_no_other(module, unwanted):
    program = f"import kdbench.worker.{module}; import json, sys; print(json.dumps(list(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not unwanted & set(json.loads(ended.stdout))


def test_a_runtime_is_found_by_its_name():
    assert runtime("torch-compiled").facts("cpu")["compile"].startswith("torch.compile")
    assert runtime("onnxruntime").facts("cuda")["settings"] == {"use_tf32": "0"}
