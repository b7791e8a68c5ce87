"""How often a 95 % interval of kdbench contains the long-run ratio, and how the ratios of other methods scatter.

    python -m benchmarks.trust.coverage --repeats 40      about 65 minutes on an idle machine; resumes if killed
    python -m benchmarks.trust.coverage --render          rewrites the tables from the stored figures

Each repeat compares a teacher and a student with kdbench as a user would, one thread, batch 1, for the whole budget,
and with each of the rivals, in an order that changes from repeat to repeat. kdbench's processes take turns on the
cores, as they do by default; a rival's are kept on one, a different one in every repeat. A repeat is kept in a file of
its own in --folder; the figures of all go to reports/trust/coverage.json.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.trust.methods import ours
from benchmarks.trust.methods.rivals import RIVALS
from benchmarks.trust.models import PAIRS, Pair, bench_models
from benchmarks.trust.options import common, run_script, write_result
from benchmarks.trust.repeats import Values, repeat
from benchmarks.trust.replay import answer, plan_on, replayed
from benchmarks.trust.tables import page
from kdbench.machine.cores import rotate_cores
from kdbench.measure.staging import stage


def measure(name: str, pair: Pair, budget_s: float, cores: Sequence[int], models: Path) -> Values:
    """Compare `pair` once by every method; `name` ends in the number of the repeat, which is the seed of everything."""
    number = int(name.rpartition("-")[2])
    rng = np.random.default_rng(number)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        both = bench_models([pair.teacher, pair.student], models)
        staged = stage(both, None, folder, number)
        jobs = [staged[s.id] for s in both]

        def rival(method: str) -> Values:
            teacher_ns, student_ns = RIVALS[method](jobs, rotate_cores(cores, 1, number), folder)
            return {"ratio": teacher_ns / student_ns, "p50_ns": [teacher_ns, student_ns]}

        def kdbench() -> Values:
            return ours.compare(both, staged, ours.use_full_budget(budget_s, cores), folder, number)

        methods: dict[str, Callable[[], Values]] = {"kdbench": kdbench} | {m: lambda m=m: rival(m) for m in RIVALS}
        order = [str(method) for method in rng.permutation(sorted(methods))]
        results = {method: methods[method]() for method in order}
    return {"pair": name.rpartition("-")[0], "order": order, "methods": results}


def main() -> None:
    """Run the repeats that are missing, gather all, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common(parser, repeats=40, folder="runs/trust/coverage")
    parser.add_argument("--budget", type=float, default=20.0, metavar="S", help="seconds of kdbench, %(default)g")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=[*PAIRS], help="which pairs, all of %(choices)s")
    args = parser.parse_args()
    if not args.render:
        settings = {"budget_s": args.budget, "cores": [*args.cores]}
        names = [f"{pair}-{number:03}" for number in range(args.repeats) for pair in args.pairs]
        kept = repeat(
            names,
            settings,
            args.folder,
            lambda name: measure(name, PAIRS[name.rpartition("-")[0]], args.budget, args.cores, args.folder / "models"),
        )
        write_result(args.results / "coverage.json", settings, [published(values, args.cores) for values in kept])
    page.write(args.results)


def published(values: Values, cores: Sequence[int]) -> Values:
    """Return a repeat as it is published: without its rounds, which only its statistics need.

    The interval is computed anew from them, as kdbench does it now for sessions in turns on `cores`, and what
    earlier stops would have shown.
    """
    kdbench = values["methods"]["kdbench"]
    rounds = [np.array(session["rounds"]) for session in kdbench["sessions"]]
    sessions = [{k: v for k, v in session.items() if k != "rounds"} for session in kdbench["sessions"]]
    plan = plan_on(cores)
    result = {**kdbench, **answer(rounds, plan), "sessions": sessions, "replayed": replayed(rounds, plan)}
    return {**values, "methods": {**values["methods"], "kdbench": result}}


if __name__ == "__main__":
    run_script(main)
