"""The notebook of the documentation: it is the page's, and runs in a kernel that displays what it shows."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FILE = DOCS / "notebook.ipynb"
_MAX_S = 540  # of a cell, on a machine that others use


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of each cell of Python, by the cell's last line."""
    nbclient, nbformat, _ = (pytest.importorskip(name) for name in ("nbclient", "nbformat", "ipykernel"))
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(FILE, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=_MAX_S, resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.delenv("MPLBACKEND", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")]))
        client.execute()
    return {cell.source.splitlines()[-1]: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def shown(outputs, line, kind):
    """Return what a cell displays of a MIME type, joined."""
    return "\n".join(one.data[kind] for one in outputs[line] if "data" in one and kind in one.data)


def printed(outputs, line):
    return "".join(one.text for one in outputs[line] if one.output_type == "stream" and one.name == "stdout")


def test_it_is_the_pages():
    spec = importlib.util.spec_from_file_location("notebook_of_a_page", DOCS / "site" / "notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert FILE.read_text("utf-8") == module.notebook((DOCS / "notebook.md").read_text("utf-8"))
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(json.loads(FILE.read_text("utf-8")))


@pytest.mark.serial
def test_it_runs_and_every_result_displays_itself(outputs):
    assert shown(outputs, "run", "text/html").count("<table") == 2
    assert "done in" in shown(outputs, "run", "text/html")  # where the progress was
    assert "times as fast" in printed(outputs, next(line for line in outputs if "times as fast" in line))
    assert "<svg" in shown(outputs, 'run.plot("accuracy_latency")', "image/svg+xml")
    assert "macs" in shown(outputs, next(line for line in outputs if line.startswith("frame[")), "text/html")
    assert "READY for our ticket kiosk" in shown(outputs, "verdict", "text/html")
    assert "regressed" in shown(outputs, next(line for line in outputs if "kb.compare" in line), "text/html")
    assert "standardized" in shown(outputs, next(line for line in outputs if "time_callable" in line), "text/html")
    assert "did you mean 'teacher.onnx'?" in printed(outputs, next(line for line in outputs if "error.hint" in line))
