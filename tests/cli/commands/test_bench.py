import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.recipe import InputOptions, Measure
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.results import RunResults


@pytest.fixture
def benching(monkeypatch, record):
    """A bench that measures nothing and notes what it was asked for."""
    fake = SimpleNamespace(calls=[])

    def bench(paths, **options):
        fake.calls.append((paths, options))
        folder = Path("runs/bench-1")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.md", "report.html"):
            (folder / name).touch()
        return RunResults(RunFolder(folder), record, {})

    fake.bench_models = bench
    monkeypatch.setitem(sys.modules, "kdbench.workflows.bench", fake)
    monkeypatch.setattr("kdbench.workflows.bench", fake, raising=False)
    return fake


def test_options_reach_the_measuring(run_cli, benching):
    line = (
        "bench teacher.onnx student.onnx --data cifar10 --data-root D --download --resize 36 --crop 32 "
        "--mean .485,.456,.406 --std .229,.224,.225 --scale 1 --teacher teacher --output logits --provider cuda "
        "--threads 1,2 --batch 64 --budget 2m --sessions 3 --energy full --estimate-energy --country DEU --out O"
    )
    ended = run_cli(*line.split())
    assert ended.code == 0
    ((paths, options),) = benching.calls
    assert paths == [Path("teacher.onnx"), Path("student.onnx")]
    del options["progress"]
    assert options == {
        "inputs": InputOptions(
            data="cifar10",
            data_root="D",
            download=True,
            resize=36,
            crop=32,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            scale=1.0,
            output="logits",
        ),
        "teacher": "teacher",
        "options": Measure(
            provider="cuda",
            threads=(1, 2),
            batch=(64,),
            budget_s=120,
            sessions=3,
            energy="full",
            estimate_energy=True,
            country="DEU",
        ),
        "out": Path("O"),
        "targets": (),
        "torch": (),
        "weights": (),
        "command": f"kdbench {line}",
    }


def test_torch_networks_need_no_file(run_cli, benching):
    line = "--torch a=nets:small --torch nets:big --weights a=a.pth --no-accuracy"
    assert run_cli("bench", *line.split()).code == 0
    ((paths, options),) = benching.calls
    assert (paths, options["torch"], options["weights"]) == ((), ["a=nets:small", "nets:big"], ["a=a.pth"])


def test_how_calls_follow_each_other_reaches_the_measuring(run_cli, benching):
    line = "--mode paced,server --gap 20ms --rate 80 --runtime onnxruntime,torch --cores 2-3 --precision 2% --profile"
    assert run_cli("bench", "m.onnx", "--no-accuracy", *line.split()).code == 0
    assert benching.calls[0][1]["options"] == Measure(
        mode=("paced", "server"),
        gap_ms=20,
        rate_per_s=80,
        runtime=("onnxruntime", "torch"),
        cores=(2, 3),
        precision=0.02,
        profile=True,
    )


def test_defaults_are_those_of_a_recipe(run_cli, benching):
    assert run_cli("bench", "m.onnx", "--no-accuracy").code == 0
    options = benching.calls[0][1]
    assert options["options"] == Measure()
    assert options["inputs"] == InputOptions(accuracy=False)
    assert options["out"] is None


def test_it_ends_with_the_table_the_report_and_the_next_command(run_cli, benching):
    ended = run_cli("bench", "m.onnx", "--no-accuracy")
    assert ended.out.splitlines()[-2:] == [
        "report: runs/bench-1/report.md and runs/bench-1/report.html",
        "next: kdbench ready runs/bench-1 --target TARGET.toml",
    ]
    assert run_cli("bench", "m.onnx", "--json").json["folder"] == "runs/bench-1"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--budget", "soon"], "--budget"),
        (["--threads", "0"], "--threads"),
        (["--mean", "a,b"], "--mean"),
        (["--batch", "1,8"], "--batch: 1 should be greater than 1\nhint: batch 1 is always measured"),
        (["--sessions", "1"], "--sessions: 1 should be"),
        (["--provider", "tpu"], "--provider"),
        (["--crop", "-1"], "--crop"),
        (["--mode", "fast"], "--mode: 'fast' should be 'stream', 'paced', 'offline' or 'server'"),
        (["--mode", ""], "--mode: name at least one"),
        (["--mode", "server"], "mode 'server' needs --rate"),
        (["--rate", "5"], "--rate applies only to mode server"),
        (["--gap", "5ms"], "--gap applies only to mode paced"),
        (["--mode", "paced", "--gap", "0"], "--gap"),
        (["--mode", "paced", "--gap", "1us"], "--gap"),
        (["--cores", ""], "--cores"),
        (["--cores", "3-1"], "--cores"),
        (["--precision", "200%"], "--precision"),
        (["--precision", "0"], "--precision"),
        (
            ["--runtime", "tensorrt"],
            "--runtime: 'tensorrt' should be 'onnxruntime', 'torch', 'torch-compiled', 'openvino', 'litert',",
        ),
        ([], "MODEL"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(run_cli, benching, options, named):
    models = ["m.onnx"] if options else []
    ended = run_cli("bench", *models, *options)
    assert ended.code == 3
    assert named in ended.err
    assert "\nhint: " in ended.err
    assert not benching.calls
