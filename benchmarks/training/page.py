"""The page of results, reports/training_speed/README.md: written from the raw figures, never by hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.calm import LIMIT_CORES
from benchmarks.training.contestants import CONTESTANTS, VIEWS
from benchmarks.training.goals import GOALS, Goal, Repeat, epochs_to_pay, images_per_s, once_s, ratio, spread
from benchmarks.trust.tables.markdown import commits, met, paragraph, table
from kdbench import units
from kdbench.files import storage
from kdbench.statistics import Estimate

NOTES = "notes.md"
TRAINING_IMAGES = 50_000  # of CIFAR-100, all of them; a share of them is left for validation in practice
_LIBRARIES = ("kdbench", "torch", "torchvision", "lightning", "lightning-fabric", "numpy")
_HOST = {
    "cpu": "processor",
    "cores_usable": "cores",
    "virtualization": "virtual machine",
    "os": "system",
    "kernel": "kernel",
    "python": "Python",
}

_TOP = """# How fast does kdbench distil?

This page compares kdbench with a plain PyTorch loop, with torchdistill, and with its own training on labels only, on
images of CIFAR-100.
`python -m benchmarks.training.speed --render` writes this page from the raw figures in this folder. Requirements:
`pip install -e .[bench]`, KDBENCH_DATA, Linux, and an idle machine; torchdistill is optional."""


def write(folder: Path, name: str) -> Path:
    """Write the page from the result called `name` in `folder`; what `notes.md` there says of it stands at the end."""
    result = storage.read_json(folder / name, "result")
    parts = [_TOP, *_sections(result)]
    if (folder / NOTES).exists():
        parts.append((folder / NOTES).read_text(encoding="utf-8").strip())
    page = storage.make_folder(folder) / "README.md"
    storage.write_text(page, "\n\n".join(parts) + "\n")
    return page


def _sections(result: dict[str, Any]) -> Iterator[str]:
    settings, repeats = result["settings"], result["repeats"]
    by_pair = {
        pair: [repeat["found"] for repeat in repeats if repeat["pair"] == pair] for pair in settings["workloads"]
    }
    yield _how(settings, repeats)
    yield "## Goals"
    yield table(["a step of … over one of …", "pair", "ratio", "goal", ""], list(_goals(settings, by_pair)))
    for pair, of_pair in by_pair.items():
        yield f"## {_arrow(settings, pair)}"
        yield _rates(of_pair, settings["workloads"][pair]["batch"])
        yield _once(of_pair, settings["workloads"][pair]["batch"])
        yield _workers(settings, pair)
    yield "## The machine"
    yield _machine(result["environment"], settings)


def _how(settings: dict[str, Any], repeats: Sequence[dict[str, Any]]) -> str:
    work = next(iter(settings["workloads"].values()))
    counts = {sum(repeat["pair"] == pair for repeat in repeats) for pair in settings["workloads"]}
    how = f"""`python -m benchmarks.training.speed --repeats {max(counts)} --threads {settings["threads"]} --steps
        {settings["steps"]}`, {commits(repeats)}. A repeat times every program once, each in a fresh process that is
        pinned, with all its loader processes, to {settings["threads"]} cores, in varying order. Batch
        {work["batch"]}, {settings["threads"]} threads, SGD with momentum, images padded by 4, cropped and
        flipped; {work["steps"]} steps are timed after {work["warmup"]} warm-up steps, including the loading of batches.
        A ratio compares two processes of the same repeat; the page shows the median over the repeats with the 95 %
        interval of the median or, for fewer than six repeats, their range. {_disturbed(repeats)}"""
    return paragraph(how)


def _disturbed(repeats: Sequence[dict[str, Any]]) -> str:
    timings = [timing for repeat in repeats for timing in repeat["found"].values()]
    tries = sum(timing["tries"] for timing in timings)
    cores = float(np.median([timing["others_cores"] for timing in timings]))
    return f"""A timing during which other work kept more than {LIMIT_CORES:g} cores busy was repeated, regardless of
        its result: {tries - len(timings)} of {tries}. In the median kept timing, other work used {cores:.2f} cores."""


def _goals(settings: dict[str, Any], by_pair: dict[str, list[Repeat]]) -> Iterator[list[str]]:
    for goal in GOALS:
        for pair, repeats in by_pair.items():
            estimate = ratio(repeats, goal.slow, goal.fast)
            shown = _ratio(repeats, goal.slow, goal.fast)
            bound = f"{'at least' if goal.at_least else 'at most'} {units.ratio(goal.bound)}"
            yield [goal.title, _arrow(settings, pair), shown, bound, _verdict(goal, estimate)]


def _arrow(settings: dict[str, Any], pair: str) -> str:
    work = settings["workloads"][pair]
    return f"{work['teacher']} → {work['student']}"


def _verdict(goal: Goal, estimate: Estimate | None) -> str:
    return "not measured" if estimate is None else met(goal.met(estimate.value))


def _rates(repeats: Sequence[Repeat], batch: int) -> str:
    rows = []
    for name, contestant in CONTESTANTS.items():
        rate = images_per_s(repeats, name, batch)
        if name == "fill" or rate is None:
            continue
        faster = _ratio(repeats, "plain", name) if name != "plain" else ""
        over = _ratio(repeats, name, "labels") if name != "labels" else ""
        rows.append([contestant.title, f"{rate:,.0f}", units.time(1e9 * batch / rate), faster, over])
    heads = ["", "images/s", "step", "speed-up over the plain loop", "step time over cross-entropy"]
    return table(heads, rows)


def _once(repeats: Sequence[Repeat], batch: int) -> str:
    """Say what is paid once, and when it has paid."""
    filling, live, cached = (images_per_s(repeats, name, batch) for name in ("fill", "kd-live", "kd"))
    compiled, compiling_s = images_per_s(repeats, "kd-compiled", batch), once_s(repeats, "kd-compiled")
    sentences = []
    if filling and live and cached:
        fill_s = TRAINING_IMAGES * VIEWS / filling
        epochs = epochs_to_pay(fill_s, TRAINING_IMAGES / live, TRAINING_IMAGES / cached)
        paid = f"after {epochs:.0f} epochs" if np.isfinite(epochs) else "never"
        sentences.append(
            f"Filling the cache: the teacher answers for {filling:,.0f} images a second, that is "
            f"{units.duration(fill_s)} for {VIEWS} views of {TRAINING_IMAGES:,} images. Compared with a live teacher, "
            f"this pays off {paid}, counted over all students that share the cache, at any temperature, "
            "weight and seed."
        )
    if compiled and compiling_s is not None and cached:
        gain_s = TRAINING_IMAGES / cached - TRAINING_IMAGES / compiled
        paid = f"would have paid after {compiling_s / gain_s:.0f} epochs" if gain_s > 0 else "never pays"
        sentences.append(
            f"Compiling takes {units.duration(max(compiling_s, 0.0))} and {paid}; kdbench compiles only if a recipe "
            "says so."
        )
    return paragraph(" ".join(sentences))


def _workers(settings: dict[str, Any], pair: str) -> str:
    tried = settings["workers_tried"][pair]
    batch, chosen = settings["workloads"][pair]["batch"], settings["workloads"][pair]["workers"]
    rates = {number: batch / float(np.median([t["step_s"][number] for t in tried])) for number in tried[0]["step_s"]}
    listed = ", ".join(f"{number}: {rate:,.0f}" for number, rate in sorted(rates.items()))
    return paragraph(
        f"Images per second of the plain loop by its number of loader processes, on the same cores: {listed}. It and "
        f"torchdistill use {chosen}."
    )


def _machine(environment: dict[str, Any], settings: dict[str, Any]) -> str:
    host, libraries = environment["host"], environment["libraries"] | settings["libraries"]
    known = [[text, str(host[key])] for key, text in _HOST.items() if host.get(key) is not None]
    named = [*_LIBRARIES, *settings["libraries"]]
    versions = ", ".join(f"{name} {libraries[name]}" for name in named if name in libraries)
    return table(["", "value"], [*known, ["libraries", versions]])


def _ratio(repeats: Sequence[Repeat], slow: str, fast: str) -> str:
    """Return the median ratio and its interval, or the marked range if the repeats are too few."""
    estimate = ratio(repeats, slow, fast)
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        least, most = spread(repeats, slow, fast)
        return f"{units.ratio(estimate.value)} (repeats: {units.ratio(least)} to {units.ratio(most)})"
    return f"{units.ratio(estimate.value)} ({units.ratio(estimate.low)} to {units.ratio(estimate.high)})"
