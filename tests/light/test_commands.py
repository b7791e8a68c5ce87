"""What the plain installation does: each command on files, in one process in which no extra can be imported.

`tox -e light` runs this where they are not installed.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdbench.data.dataset import Request
from kdbench.data.digits import load_digits
from kdbench.extras import EXTRAS, install

# The package itself needs what [gpu] brings, and this is pytest.
OPTIONAL = {name: extra for name, extra in EXTRAS.items() if name not in {"gpu", "pytest"}}
PROGRAM = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder
absent, lines = json.load(sys.stdin)
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from kdbench.cli.main import main
ended = []
for line in lines:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line)
    ended.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([ended, sorted(sys.modules)]))
"""
WORKING = {
    "bench": "bench a.onnx b.onnx --data digits --no-times --out run --json",
    "macs": "macs a.onnx --json",
    "ready": "ready run --target server-cpu --json",
    "compare": "compare run run --metric top1 --json",
    "history": "history run --metric top1 --json",
    "show": "show run --json",
    "report": "report run --format md --format html --format csv --format json --out reports --json",
    "compress": "compress a.onnx --method int8,int8-dynamic,fp16 --data digits --out smaller --json",
    "doctor": "doctor --json",
    "datasets": "list datasets --json",
}
REFUSED = {
    "run": "train",
    "run digits --out other": "train",
    "train digits": "train",
    "run digits --set measure.runtime=openvino --out other": "train,openvino",
    "sweep digits --axis training.epochs=1,2 --out other": "train",
    "sweep digits --axis training.epochs=1..9 --search optuna --goal 'max top1' --on auto": "train,search,cluster",
    "sweep digits --axis training.epochs=1,2 --on slurm --out other": "train,slurm",
    "macs resnet20": "train",
    "list models": "train",
    "list methods": "train",
    "bench --torch nets:Net --no-accuracy": "train",
    "bench program.pt2 --no-accuracy": "train",
    "bench a.onnx --no-accuracy --runtime torch": "train",
    "bench a.onnx --no-accuracy --runtime onnxruntime,torch-compiled": "train",
    "bench a.onnx --no-accuracy --runtime openvino": "openvino",
    "bench a.onnx --no-accuracy --runtime litert,openvino": "litert,openvino",
    "bench a.onnx --no-accuracy --country DEU": "estimate",
    "bench a.onnx --no-accuracy --estimate-energy": "estimate",
    "bench a.onnx --no-accuracy --log wandb": "wandb",
    "bench a.onnx --no-accuracy --log tensorboard,mlflow": "tensorboard,mlflow",
    "report run --format hub-card": "hub",
    "report run --format cyclonedx": "bom",
}


class Results:
    """What each command line ended with."""

    def __init__(self, folder, ended, loaded):
        self.folder, self.loaded = folder, set(loaded)
        self._by_line = dict(zip([*WORKING.values(), *REFUSED], ended, strict=True))

    def __getitem__(self, line):
        return self._by_line[WORKING.get(line, line)]


@pytest.fixture(scope="module")
def images():
    return load_digits(Request("digits")).test


@pytest.fixture(scope="module")
def weights(images):
    """The images nearest to a class's mean are of this class: linear in the image."""
    train = load_digits(Request("digits")).train
    means = np.stack([train.inputs[train.labels == label].mean(axis=0).ravel() for label in range(10)]) / 255
    return (2 * means.T).astype(np.float32), -(means**2).sum(axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def results(tmp_path_factory, weights):
    folder = tmp_path_factory.mktemp("light")
    for name in ("a", "b"):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
        nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "w", "b"], ["y"])]
        stored = [numpy_helper.from_array(array, name) for name, array in zip("wb", weights, strict=True)]
        graph = helper.make_graph(nodes, name, [x], [y], stored)
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / f"{name}.onnx"
        )
    (folder / "program.pt2").write_bytes(b"")
    absent = sorted(module for extra in OPTIONAL.values() for module in extra.libraries)
    parameters = json.dumps([absent, [shlex.split(line) for line in (*WORKING.values(), *REFUSED)]])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=parameters, capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Results(folder, *json.loads(done.stdout.splitlines()[-1]))


def of_json(results, name):
    code, out, err = results[name]
    assert code == 0, (out, err)
    return json.loads(out)


def test_a_record_is_shown_again(results):
    assert of_json(results, "show")["folder"] == of_json(results, "bench")["folder"]


def test_accuracy_is_what_numpy_computes(results, images, weights):
    measurements = of_json(results, "bench")["measurements"]
    answers = (images.inputs.reshape(len(images), -1) / 255) @ weights[0] + weights[1]
    expected = float((answers.argmax(axis=1) == images.labels).mean())
    assert {m["model"]: m["value"] for m in measurements if m["metric"] == "top1"} == {
        "a": pytest.approx(expected), "b": pytest.approx(expected),
    }  # fmt: skip


def test_a_file_is_counted(results):
    assert of_json(results, "macs")["macs"] == 64 * 10


def test_records_are_judged_compared_followed_and_rendered(results):
    code, out, _ = results["ready"]
    assert code == json.loads(out)["exit_code"] in {1, 2}  # nothing was timed
    assert of_json(results, "compare")["overall"] == "same"
    assert of_json(results, "history")["series"]
    files = of_json(results, "report")["files"]
    assert {Path(file).suffix for file in files} >= {".md", ".html", ".csv", ".json"}
    assert all((results.folder / file).stat().st_size for file in files)


def test_files_are_compressed(results):
    assert {variant["id"] for variant in of_json(results, "compress")["variants"]} == {
        "a-int8", "a-int8-dynamic", "a-fp16",
    }  # fmt: skip


def test_names_of_data_sets_are_listed(results):
    assert {"digits", "mnist", "cifar10", "folder:PATH"} <= of_json(results, "datasets").keys()


def test_doctor_lists_every_extra(results):
    findings = {finding["subject"]: finding for finding in of_json(results, "doctor")["findings"]}
    for name in OPTIONAL:
        assert findings[f"extra {name}"]["state"] == "missing"
        assert findings[f"extra {name}"]["remedy"] == install(name)
    assert findings["extra gpu"]["state"] == "ok"
    assert findings["data: digits"]["state"] == "ok"


@pytest.mark.parametrize("line", REFUSED)
def test_a_command_that_lacks_its_extra_names_the_line_that_installs_it(results, line):
    code, out, err = results[line]
    assert code == 3, err
    assert not out
    assert err.endswith(f"hint: {install(*REFUSED[line].split(','))}\n")
    assert len(re.findall(r"^error: ", err, re.MULTILINE)) == 1
    assert not (results.folder / "other").exists()


def test_nothing_optional_was_loaded(results):
    modules = {module for extra in OPTIONAL.values() for module in extra.libraries}
    assert not {name for name in results.loaded if name.partition(".")[0] in modules}
