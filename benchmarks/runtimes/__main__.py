"""Whether kdbench and each runtime's own benchmark tool report the same latency and the same answers.

    python -m benchmarks.runtimes resnet20.onnx=cifar10 mnist8.onnx=mnist     about 10 minutes; resumes if killed
    python -m benchmarks.runtimes --render                                    writes the page from the stored figures

`MODEL=DATA` names an ONNX file and the data set that it is fed from. Each repeat measures a model with kdbench's
latency pass in one fresh process, and with the tool in another, on the same core, with one thread at batch 1; which of
the two comes first alternates. The tools: OpenVINO's `benchmark_app`, and a bare loop with its Python API; LiteRT's
`litert-benchmark`, and a bare loop with its interpreter; for onnxruntime-web a bare loop in a page of headless
Chromium, and in Node.js. A runtime that is not installed, or has no file of a model, is left out with the reason.
LiteRT's files are found or made as `kdbench bench` does it (docs/runtimes.md). `--mean` and `--std` are of models of
colour images.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.runtimes import page
from benchmarks.runtimes.tools import TOOLS, Task
from benchmarks.trust.methods import ours
from benchmarks.trust.options import common, run_script, write_result
from benchmarks.trust.repeats import Values, repeat
from kdbench.edge.bundles.bundle import subset
from kdbench.errors import InputError, KdbenchError
from kdbench.machine.cores import rotate_cores
from kdbench.measure.bench_model import BenchModel, Refusal, TestSet
from kdbench.measure.forms import file_in
from kdbench.measure.runner import Runner
from kdbench.measure.staging import stage
from kdbench.modelfile.facts import inspect
from kdbench.progress import Silent
from kdbench.recipe import InputOptions, Measure
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import JobModel, LogitsJob
from kdbench.workflows.files.images import TestImages
from kdbench.workflows.files.model_files import load_bench_model

RESULTS = Path(__file__).resolve().parents[2] / "reports/runtimes"
SAMPLES = 200
SECONDS = 2.0  # of either side


def measure(name: str, models: dict[str, tuple[BenchModel, TestSet]], cores: Sequence[int]) -> Values:
    """Measure the model and the tool that `name` says, MODEL,TOOL,NUMBER: times in ns, and once answers."""
    model_name, tool_name, number = name.split(",")
    tool, seed = TOOLS[tool_name], int(number)
    core = rotate_cores(cores, 1, seed)
    one, test = models[model_name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        job = with_form(stage([one], test, folder, seed)[one.id], one, tool.form)
        inputs = prepare(np.load(job.images), job)
        np.save(folder / "inputs.npy", inputs)
        task = Task(job, folder, SECONDS, core)
        how = ours.one_session(SECONDS, core).model_copy(update={"runtime": (tool.runtime,)})
        sides = {
            "kdbench": lambda: ours.sampled([one], {one.id: job}, how, folder, seed).samples[one.id, 0].values,
            tool_name: lambda: tool.read(task),
        }
        order = sorted(sides, reverse=seed % 2 == 1)
        results = {side: sides[side]() for side in order}
        calls_ns, reading = results["kdbench"], results[tool_name]
        facts = {"model": model_name, "runtime": tool.runtime, "tool": tool_name, "about": tool.about, "order": order}
        facts["p50_ns"] = {"kdbench": float(np.median(calls_ns)), tool_name: reading.p50_ns}
        if tool.defined_ns:
            facts["defined_ns"] = {"kdbench": tool.defined_ns(task, calls_ns), tool_name: reading.defined_ns}
        if seed:
            return facts
        answers = {"kdbench": classes(job, tool.runtime, folder), tool_name: tool.classes(task)}
    correct = {side: int((predicted == test.labels).sum()) for side, predicted in answers.items()}
    changed = int((answers["kdbench"] != answers[tool_name]).sum())
    return {**facts, "samples": len(test.labels), "correct": correct, "changed": changed}


def loaded(path: Path, inputs: InputOptions) -> tuple[BenchModel, TestSet]:
    """Return a model and at most SAMPLES samples of its test set; raises InputError."""
    images = TestImages(inputs)
    model, _ = load_bench_model(path, path.stem, inputs, reference=path.stem, images=images)
    return model, subset(images.test_set(), SAMPLES)


def with_form(job: JobModel, model: BenchModel, form: str) -> JobModel:
    """Return the job with the file that the runtime takes; raises InputError where there is none."""
    if not form:
        return job
    file = file_in(form, model, job)
    if isinstance(file, Refusal):
        raise InputError(f"{model.id}: {file.reason}", file.hint or "")
    return replace(job, files={form: str(file)})


def classes(job: JobModel, runtime: str, folder: Path) -> np.ndarray:
    """Return the classes that kdbench's process of a runtime answers, sample by sample; raises MeasurementError."""
    file = folder / "logits.npy"
    logits = LogitsJob(models=(job,), files=(str(file),), batches=(1,), provider="cpu", threads=1, runtime=runtime)
    result = Runner(Measure(), folder).run(logits, Silent(), pinned=False)
    for reason in result["errors"].values():
        raise InputError(f"{job.id} in {runtime}: {reason}", "")
    return np.load(file).argmax(axis=1)


def inputs_of(path: str, data: str, normalisation: dict[str, tuple[float, ...]]) -> InputOptions:
    """Return how a model is fed: normalised where it takes colour images; raises InputError."""
    return InputOptions(data=data, **(normalisation if inspect(Path(path)).channels == 3 else {}))


def usable(models: dict[str, tuple[BenchModel, TestSet]]) -> Iterator[tuple[str, str]]:
    """Yield the names of models and tools that can run, and print why others cannot."""
    for name, (one, test) in models.items():
        for tool_name, tool in TOOLS.items():
            try:
                tool.require()
                with tempfile.TemporaryDirectory() as temporary:
                    with_form(stage([one], test, Path(temporary), 0)[one.id], one, tool.form)
            except KdbenchError as error:
                print(f"{name}, {tool_name}: left out: {error.message}", flush=True)
            else:
                yield name, tool_name


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def main() -> None:
    """Run the repeats that are missing, gather all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common(parser, repeats=5, folder="runs/runtimes")
    parser.set_defaults(results=RESULTS)
    parser.add_argument("models", nargs="*", metavar="MODEL=DATA", help="ONNX files and the data sets to feed them")
    parser.add_argument("--mean", type=_numbers, help="of each colour")
    parser.add_argument("--std", type=_numbers, help="of each colour")
    args = parser.parse_args()
    if not args.render:
        named = dict(one.rsplit("=", 1) for one in args.models if "=" in one)
        if not named or len(named) < len(args.models):
            parser.error("name models with their data: resnet20.onnx=cifar10")
        preparation = {key: value for key in ("mean", "std") if (value := getattr(args, key)) is not None}
        models = {
            Path(path).stem: loaded(Path(path), inputs_of(path, data, preparation)) for path, data in named.items()
        }
        words = [*(Path(path).name + "=" + data for path, data in named.items())]
        words += [f"--{key} {','.join(map(str, values))}" for key, values in preparation.items()]
        settings = {"seconds": SECONDS, "cores": [*args.cores], "samples": SAMPLES, "arguments": " ".join(words)}
        pairs = list(usable(models))
        names = [f"{model},{tool},{number}" for number in range(args.repeats) for model, tool in pairs]
        kept = repeat(names, settings, args.folder, lambda name: measure(name, models, args.cores))
        write_result(args.results / "runtimes.json", settings, kept)
    page.write(args.results)


if __name__ == "__main__":
    run_script(main)
