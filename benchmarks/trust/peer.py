"""Whether kdbench and MLPerf LoadGen report the same latency for the same model.

    python -m benchmarks.trust.peer --repeats 12      about 5 minutes on an idle machine; resumes if killed
    python -m benchmarks.trust.peer --render          rewrites the table from the stored figures

Each repeat measures a model with kdbench's latency pass in one fresh process and with LoadGen's SingleStream scenario
in another, with the same session options and inputs, on the same core, a different one in every repeat; which of the
two comes first alternates. A model that computes nothing is measured as well: it shows what each adds to a call.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.trust.methods import ours
from benchmarks.trust.methods.rivals import SECONDS, loadgen
from benchmarks.trust.models import PEERS, bench_model, exported
from benchmarks.trust.options import common, run_script, write_result
from benchmarks.trust.repeats import Values, repeat
from benchmarks.trust.tables import page
from kdbench.machine.cores import rotate_cores
from kdbench.measure.staging import null_model, stage

NULL = "null"  # the model that computes nothing


def measure(name: str, cores: Sequence[int], models: Path) -> Values:
    """Measure the model that `name`, which ends in the repeat's number, begins with; medians in ns by process."""
    model, _, number = name.rpartition("-")
    seed = int(number)
    core = rotate_cores(cores, 1, seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        nets = {net.name: net for net in PEERS}
        path = Path(null_model(folder).path) if model == NULL else exported(nets[model], models)
        one = bench_model(path)
        staged = stage([one], None, folder, seed)
        how = ours.one_session(SECONDS, core)
        methods = {
            "kdbench": lambda: ours.p50_ns(one, staged, how, folder, seed),
            "LoadGen": lambda: loadgen([staged[one.id]], core, folder)[0],
        }
        order = sorted(methods, reverse=seed % 2 == 1)
        p50_ns = {method: methods[method]() for method in order}
    return {"model": model, "order": order, "p50_ns": p50_ns}


def main() -> None:
    """Run the repeats that are missing, gather all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common(parser, repeats=12, folder="runs/trust/peer")
    args = parser.parse_args()
    if not args.render:
        settings = {"seconds": SECONDS, "cores": [*args.cores]}
        models = [NULL, *(net.name for net in PEERS)]
        names = [f"{model}-{number:03}" for number in range(args.repeats) for model in models]
        kept = repeat(names, settings, args.folder, lambda name: measure(name, args.cores, args.folder / "models"))
        write_result(args.results / "peer.json", settings, kept)
    page.write(args.results)


if __name__ == "__main__":
    run_script(main)
