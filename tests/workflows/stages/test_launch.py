"""One training in several processes: what they say reaches its watcher, and one that ends badly ends them all."""

import json
import multiprocessing
import os
import sys
from pathlib import Path

import psutil
import pytest
import torch
from torch.distributed import TCPStore

from kdbench import models
from kdbench.cli import main as cli
from kdbench.distill.training import fit
from kdbench.errors import DivergedError, InputError, KdbenchError
from kdbench.export.onnx import export_onnx
from kdbench.plugins import search
from kdbench.progress import Silent
from kdbench.recipe.loading import load_recipe, recipe_from
from kdbench.registry import Registry
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages import launch, start
from kdbench.workflows.study.checks import networks
from kdbench.workflows.train import train
from kdbench.workflows.workers import train as train_worker

# A server that has everything imported and nothing begun: its children start at once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lightning_fabric", "torchvision.transforms.v2", "kdbench.distill.training.fit"])


class Watch(Silent):
    def __init__(self):
        self.steps, self.notes = [], []

    def step(self, done, total, detail=""):
        self.steps.append((done, total, detail))

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def spread(tmp_path, monkeypatch):
    """Let every process run a few lines of Python, which know its `rank`."""

    def run(lines: str, count: int = 2, watch: Watch | None = None) -> Watch:
        script = f"import json, os, sys, time\nrank = int(os.environ['RANK'])\n{lines}"
        monkeypatch.setattr(launch, "WORKER", (sys.executable, "-c", script))
        watch = watch or Watch()
        launch.train_in_processes("job", count, RunFolder(tmp_path), watch)
        return watch

    before = set(psutil.Process().children())
    yield run
    assert set(psutil.Process().children()) <= before, "nobody is left"


def test_what_processes_say_of_their_progress_is_passed_on_and_other_output_is_not(spread):
    watch = spread("""
print("a library's own words")
print(json.dumps({"step": [rank, 2, "epoch 1"]}))
print(json.dumps({"note": f"from {rank}"}))
""")
    assert sorted(watch.steps) == [(0, 2, "epoch 1"), (1, 2, "epoch 1")]
    assert sorted(watch.notes) == ["from 0", "from 1"]


def test_they_are_told_their_job_their_place_and_where_to_meet(spread, tmp_path):
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]
    watch = spread(
        f"print(json.dumps({{'note': json.dumps([sys.argv[1:], [os.environ[name] for name in {names}]])}}))", count=3
    )
    received = sorted(json.loads(note) for note in watch.notes)
    assert received == [[[str(tmp_path), "job", ""], [rank, rank, "3", "3", "127.0.0.1"]] for rank in "012"]


def test_an_error_of_one_ends_the_others_and_is_raised_here(spread):
    with pytest.raises(DivergedError, match="the loss is nan") as caught:
        spread("""
if rank == 1:
    print(json.dumps({"error": {"type": "DivergedError", "message": "the loss is nan", "hint": "lower"}}))
    sys.exit(3)
time.sleep(600)
""")
    assert caught.value.hint == "lower"


def test_a_process_that_is_killed_ends_the_others(spread):
    with pytest.raises(KdbenchError, match="process 1 was killed") as caught:
        spread("os.kill(os.getpid(), 9) if rank == 0 else time.sleep(600)")
    assert "memory" in caught.value.hint


def test_the_cause_is_told_and_not_what_it_caused(spread):
    """The second process ends by a signal; the first one, which waits for it, fails and is noticed before."""
    with pytest.raises(KdbenchError, match="process 2 was ended by signal 11"):
        spread("""
if rank == 0:
    raise RuntimeError("connection closed by peer")
time.sleep(0.2)
os.kill(os.getpid(), 11)
""")


def test_waiting_in_vain_for_the_others_is_no_fault_of_kdbench():
    message = train_worker.timeout_message(
        RuntimeError("[gloo] Timed out waiting 1800000ms for recv operation to complete")
    )
    assert message is not None
    assert "30 min" in message
    assert train_worker.timeout_message(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_a_fault_comes_with_its_last_words(spread):
    with pytest.raises(RuntimeError, match=r"(?s)process 2 ended with code 1.*ZeroDivisionError"):
        spread("1 / (1 - rank)\ntime.sleep(600)")


def test_an_interrupt_here_ends_them(spread):
    class Interrupts(Watch):
        def step(self, done, total, detail=""):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spread("print(json.dumps({'step': [0, 1, '']}), flush=True)\ntime.sleep(600)", watch=Interrupts())


def recipe(**keys):
    return recipe_from(
        {
            "name": "spread",
            "data": {"name": "digits", "validation": 0.2, "augment": {"pad": 1}},
            "training": {"epochs": 2, "batch": 64, "threads": 1, "device": "cpu", "devices": 2, **keys},
            "teacher": [{"name": "teacher", "model": {"name": "dense", "hidden": [16]}}],
        }
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"devices": 1000}, "CPU core"), ({"num_nodes": 2}, "other nodes"), ({"strategy": "ddq"}, "'ddq'")],
)
def test_what_cannot_be_spread_is_refused_before_data_are_loaded(tmp_path, monkeypatch, keys, message):
    monkeypatch.setattr(start, "load_run_data", lambda _: pytest.fail("data were loaded"))
    with pytest.raises(InputError, match=message):
        train(recipe(**{"devices": 1, **keys}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def environment(rank: int, port: int) -> dict[str, str]:
    return launch._environment(rank, 2, port)


def run_twice_together(folder: Path, *arguments: str) -> list[tuple[str, str]]:
    """Run the command twice in two processes, as torchrun would; return output and errors of each.

    The last line of the output has both exit codes.
    """
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = [
        PROCESSES.Process(target=_run_twice, args=(arguments, environment(rank, meeting.port), folder / f"rank{rank}"))
        for rank in (0, 1)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
        process.kill()
    files = [(folder / f"rank{rank}.out", folder / f"rank{rank}.err") for rank in (0, 1)]
    ended = [(out.read_text(), err.read_text()) for out, err in files]
    assert [process.exitcode for process in started] == [0, 0], ended
    return ended


def _run_twice(arguments: tuple[str, ...], variables: dict[str, str], file: Path) -> None:
    """Run the command twice in this process, which has started for it alone, and write its output to files."""
    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        with file.with_suffix(suffix).open("w") as target:
            os.dup2(target.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["kdbench", *arguments]
    networks._require_export = _unchecked
    sys.stdout.write(f"{cli.main()} {cli.main()}\n")
    sys.stdout.flush()


def _unchecked(*_):
    """Do not try whether a network can be exported: that takes seconds, and no file is made of it here."""


def test_an_error_of_the_training_itself_is_written_for_the_parent(tmp_path, monkeypatch, capsys):
    with pytest.raises(DivergedError, match="teacher: training diverged"):
        train(recipe(devices=1, optimizer={"lr": 1e6}), tmp_path / "out")
    monkeypatch.setattr(train_worker, "end_with_parent", lambda: None)
    capsys.readouterr()
    assert train_worker.main(RunFolder(tmp_path / "out"), "teacher") == DivergedError.exit_code
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert error["type"] == "DivergedError"
    assert error["message"].startswith("teacher: training diverged")
    assert "training.optimizer.lr" in error["hint"]
    assert train_worker.main(RunFolder(tmp_path / "out"), "teacher", "the hash of other data") == InputError.exit_code
    assert "returns other data in each process" in capsys.readouterr().out


NETWORK = """
from torch import nn
from kdbench.models import MODELS

@MODELS.register("own-net")
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, num_classes))

    def forward(self, images):
        return self.body(images)

def inverted(images):
    return 255 - images
"""
STUDY = """
name = "spread"
plugins = ["mynets.py"]
data = { name = "digits", validation = 0.2, augment = { pad = 1, transform = "mynets:inverted" } }
training = { epochs = 2, batch = 64, threads = 1, device = "cpu", devices = 2 }
teacher = [{ name = "teacher", weights = "teacher.onnx" }]
student = [{ name = "student", model = "own-net", terms = [{ method = "kd" }] }]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A recipe for two devices, with a network and a transform of its own, whose teacher is an ONNX file."""
    folder = tmp_path_factory.mktemp("study")
    torch.manual_seed(0)
    export_onnx(models.build("dense", (1, 8, 8), 10, hidden=[]), (1, 8, 8), folder / "teacher.onnx")
    (folder / "mynets.py").write_text(NETWORK)
    (folder / "spread.toml").write_text(STUDY)
    path = list(sys.path)
    yield folder / "spread.toml"
    sys.path[:] = path
    sys.modules.pop("mynets", None)
    Registry.forget("mynets")
    search.set_folders(())


@pytest.fixture(scope="module")
def alone(study, tmp_path_factory):
    """The curve of the training in one process."""
    on_one = study.with_name("alone.toml")
    on_one.write_text(STUDY.replace("devices = 2", "devices = 1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "_require_export", _unchecked)
        return curve(train(load_recipe(on_one), tmp_path_factory.mktemp("alone") / "out"))


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="takes two cores")
class TestForReal:
    def test_two_devices_have_the_curve_of_one(self, study, alone, tmp_path, monkeypatch):
        monkeypatch.setattr(networks, "_require_export", _unchecked)
        watch = Watch()
        folder = train(load_recipe(study), tmp_path / "out", progress=watch)
        assert curve(folder) == [pytest.approx(row, rel=1e-4) for row in alone]
        assert watch.steps[-1][2].startswith("epoch 2/2, loss")
        card = json.loads((folder / "checkpoints" / "student" / fit.SUMMARY).read_text())["training"]
        assert card["unmetered"] == "a training on several devices is not metered"
        resumed = Watch()
        train(load_recipe(study), folder, resume=True, progress=resumed)
        assert resumed.notes == ["student: already trained"]

    def test_processes_that_somebody_else_started_speak_with_one_voice(self, study, alone, tmp_path):
        out = tmp_path / "out"
        (output, errors), (other_output, other_errors) = run_twice_together(
            tmp_path, "train", str(study), "--out", str(out)
        )
        assert output == f"trained models: {out}\n0 3\n", errors
        assert errors.count("train student") == 1
        assert errors.count("already holds a run") == 1
        assert other_output == "0 3\n", other_errors
        assert "train student" not in other_errors
        assert "already holds" not in other_errors
        assert curve(out) == [pytest.approx(row, rel=1e-4) for row in alone]


def curve(folder: Path) -> list[list[float]]:
    """Losses and accuracies of each epoch."""
    card = json.loads((folder / "checkpoints" / "student" / fit.SUMMARY).read_text())["training"]
    measured = ("train_loss", "train_top1", "validation_loss", "validation_top1")
    return [[row[key] for key in measured] for row in card["curve"]]


def test_processes_wait_as_was_settled_for_their_parent(spread, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    watch = spread('print(json.dumps({"note": os.environ["OMP_WAIT_POLICY"]}))')
    assert watch.notes == ["PASSIVE", "PASSIVE"]
