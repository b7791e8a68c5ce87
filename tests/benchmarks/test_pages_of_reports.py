"""The pages of experiments in reports/ are what the stored figures give now, and other pages quote them as they are."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import device
from benchmarks.runtimes import page as runtimes_page
from benchmarks.training import page as training_page
from benchmarks.training import speed
from benchmarks.trust.tables import page as trust_page

ROOT = Path(__file__).parents[2]


def write_devices(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["device", "--render", "--results", str(folder)])
    device.main()


WRITERS = {
    "trust": lambda folder, _: trust_page.write(folder),
    "runtimes": lambda folder, _: runtimes_page.write(folder),
    "training_speed": lambda folder, _: training_page.write(folder, speed.RESULT),
    "devices": write_devices,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_page_is_what_its_stored_figures_give(name, tmp_path, monkeypatch):
    folder = shutil.copytree(ROOT / "reports" / name, tmp_path / name)
    expected = (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    WRITERS[name](folder, monkeypatch)
    assert (folder / "README.md").read_text() == expected


@pytest.fixture(scope="module")
def verdicts():
    """For each machine and condition of the experiment on verdicts: correct intervals of latencies, and of ratios."""
    text = (ROOT / "reports" / "trust" / "README.md").read_text()
    machines = re.findall(r"^## Verdicts.*?(?=^## )", text, re.DOTALL | re.MULTILINE)
    conditions = [part for machine in machines for part in machine.split("\n### ")[1:]]
    return [(correct("p50", part), correct(": resnet20", part)) for part in conditions]


def correct(kind, part):
    return sum(map(int, re.findall(rf"^\| [^|]*{kind} \|.* \| (\d+) of 40 \|", part, re.MULTILINE)))


def test_the_readme_sums_the_experiment_up(verdicts):
    latencies, ratios = map(sum, zip(*verdicts, strict=True))
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"for ratios in {ratios} of 240 comparisons on two machines, for latencies in {latencies} of 480" in text


def test_the_page_on_numbers_quotes_the_experiment(verdicts):
    text = (ROOT / "docs" / "numbers.md").read_text()
    rows = re.findall(r"^\| (?:Xeon|EPYC), .*? \| (\d+) of 80 \| (\d+) of 40 \|", text, re.MULTILINE)
    assert [(int(latencies), int(ratios)) for latencies, ratios in rows] == verdicts
