"""How often verdicts are right on an idle machine, beside one busy core and beside bursts of other work.

    python -m benchmarks.trust.decisions --repeats 40 --hours 2    resumes if killed
    python -m benchmarks.trust.decisions --render                  rewrites the tables from the stored figures

A repeat compares a teacher and a student as `kdbench bench` does with its default budget, then times them with a naive
script and with pytest-benchmark, all beside the same kind of work (`neighbours`). Repeats are spread over --hours,
because a machine differs from hour to hour. A repeat is kept in a file of its own in --folder, with the raw samples;
intervals and verdicts are computed from these by the code as it is when the page is written, in the order of the
repeats, so that each has the history of the earlier ones only.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.trust.methods import ours
from benchmarks.trust.methods.rivals import naive_medians_and_means, pytest_benchmark_stats
from benchmarks.trust.models import PAIRS, bench_models
from benchmarks.trust.neighbours import CONDITIONS, neighbours
from benchmarks.trust.options import common, run_script, write_result
from benchmarks.trust.repeats import Values, kept, repeat
from benchmarks.trust.tables import page
from kdbench.files import storage
from kdbench.machine.cores import rotate_cores
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.earlier_runs import EarlierRuns
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.latency.ratios import session_plan
from kdbench.measure.latency.sessions import SessionSamples
from kdbench.measure.passes.latency import latency_findings
from kdbench.measure.staging import stage
from kdbench.recipe.tables.measure import Measure
from kdbench.results.records import Interval
from kdbench.results.samples import call_arrays, read_samples, write_samples
from kdbench.statistics import Clustered

_STATS = ("mean", "min", "median")
_ARRAYS = ("ns", "session", "block", "preempted")


def measure(name: str, budget_s: float, cores: Sequence[int], folder: Path) -> Values:
    """Compare a pair in a condition; `name` is `PAIR-CONDITION-NUMBER`, and the number the seed of everything."""
    pair, condition, number = name.split("-")
    seed = int(number)
    with tempfile.TemporaryDirectory() as temporary, neighbours(condition, seed):
        scratch = Path(temporary)
        both = bench_models([PAIRS[pair].teacher, PAIRS[pair].student], folder / "models")
        staged = stage(both, None, scratch, seed)
        jobs, one_core = [staged[model.id] for model in both], rotate_cores(cores, 1, seed) or ()
        began = time.monotonic()
        config = _config(cores).model_copy(update={"budget_s": budget_s})
        sampled = ours.sampled(both, staged, config, scratch, seed)
        seconds = time.monotonic() - began
        naive = naive_medians_and_means(jobs, one_core, scratch)
        stats = pytest_benchmark_stats(jobs, one_core, scratch)
    write_samples(folder / f"{name}.npz", call_arrays({model.id: sampled.samples[model.id, 0] for model in both}))
    return {
        "pair": pair,
        "condition": condition,
        "seconds": round(seconds, 2),
        "cores": [*cores],
        "naive": {
            model.id: {"median_ns": p50, "mean_ns": mean} for model, (p50, mean) in zip(both, naive, strict=True)
        },
        "pytest-benchmark": {
            model.id: {f"{name}_ns": 1e9 * of_model[name] for name in _STATS}
            for model, of_model in zip(both, stats, strict=True)
        },
    }


def main() -> None:
    """Run the repeats that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common(parser, repeats=40, folder="runs/trust/decisions")
    parser.add_argument("--budget", type=float, default=Measure().budget_s, metavar="S", help="seconds, %(default)g")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=["conv"], help="which pairs")
    parser.add_argument("--hours", type=float, default=0.0, metavar="H", help="spread the repeats over hours")
    args = parser.parse_args()
    if args.render:
        page.write(args.results)
        return
    storage.make_folder(args.folder)
    period_s = 3600 * args.hours / args.repeats
    for number in range(args.repeats):
        began = time.monotonic()
        names = [f"{pair}-{condition}-{number:03}" for condition in CONDITIONS for pair in args.pairs]
        settings = {"budget_s": args.budget, "cores": [*args.cores]}
        missing = any(not (args.folder / f"repeat-{name}.json").exists() for name in names)
        repeat(names, settings, args.folder, lambda name: measure(name, args.budget, args.cores, args.folder))
        if missing and number + 1 < args.repeats:
            time.sleep(max(period_s - (time.monotonic() - began), 0.0))
    settings = {"budget_s": args.budget, "hours": args.hours}
    write_result(args.results / "decisions.json", settings, judged(kept(args.folder), args.folder))
    page.write(args.results)


def judged(repeats: Sequence[Values], folder: Path) -> list[Values]:
    """Return the repeats with what kdbench says now of their samples, each after the earlier ones of its condition."""
    results = []
    with tempfile.TemporaryDirectory() as cache:
        for repeat_ in repeats:
            earlier = EarlierRuns(Path(cache) / repeat_["condition"])
            pair = PAIRS[repeat_["pair"]]
            both = bench_models([pair.teacher, pair.student], folder / "models")
            findings = latency_findings(both, _sampled(both, repeat_, folder), _config(repeat_["cores"]), earlier)
            medians = {m.model: m for m in findings.measurements if m.metric == "latency_p50_ns"}
            (ratio,) = findings.pairs
            results.append(
                {
                    **repeat_,
                    "p50_ns": {id_: _estimate(m.value, m.interval) for id_, m in medians.items()},
                    "ratio": _estimate(ratio.value, ratio.interval),
                }
            )
    return results


def _sampled(both: Sequence[BenchModel], repeat_: Values, folder: Path) -> SessionSamples:
    config = _config(repeat_["cores"])
    arrays = read_samples(folder / f"{repeat_['repeat']}.npz")
    samples = {(m.id, 0): Clustered(*(np.asarray(arrays[f"{m.id}/{name}"]) for name in _ARRAYS)) for m in both}
    return SessionSamples(
        configurations(both, config),
        samples,
        warm_up_calls={key: [0] for key in samples},
        call_ns={key: [float(np.median(calls.values))] for key, calls in samples.items()},
        plan=session_plan(repeat_["cores"], config.sessions),
    )


def _config(cores: Sequence[int]) -> Measure:
    return Measure(cores=tuple(cores), energy="off").model_copy(update={"batch": (1,)})


def _estimate(value: float | None, interval: Interval | None) -> Values:
    assert value is not None, "a repeat has every number"
    return {"value": value, "low": interval and interval.low, "high": interval and interval.high}


if __name__ == "__main__":
    run_script(main)
