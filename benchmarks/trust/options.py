"""The command-line options of both experiments, and where their results go."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.trust.repeats import Values
from kdbench.errors import KdbenchError
from kdbench.files import storage
from kdbench.machine import fingerprint
from kdbench.machine.cores import choose_cores
from kdbench.user_input.options import cores

RESULTS = Path(__file__).resolve().parents[2] / "reports/trust"


def common(parser: argparse.ArgumentParser, *, repeats: int, folder: str) -> None:
    """Add the options that both experiments have. Linux only: processes are pinned to cores."""
    parser.add_argument("--repeats", type=int, default=repeats, metavar="N", help="how many in all, %(default)d")
    parser.add_argument("--folder", type=Path, default=Path(folder), help="where repeats are kept, %(default)s")
    parser.add_argument(
        "--cores", type=_cores, default=choose_cores(None, (1,)), help="as of kdbench bench, whose default it is"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result and the page go, reports/trust")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the tables from stored figures")


def _cores(text: str) -> tuple[int, ...]:
    return choose_cores(tuple(dict.fromkeys(cores(text))), (1,)) or ()


def run_script(main: Callable[[], None]) -> None:
    """Run `main`; an error that a user can fix, or an interrupt, ends it with a sentence."""
    try:
        main()
    except KdbenchError as error:
        sys.exit(f"{error.message}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command continues from here")


def write_result(result: Path, settings: Values, repeats: Sequence[Values]) -> None:
    """Write the result of an experiment: how it was taken, where, and the figures of every repeat."""
    here = fingerprint.fingerprint().model_dump(mode="json")
    storage.make_folder(result.parent)
    storage.write_json(result, {"settings": settings, "environment": here, "repeats": [*repeats]})
