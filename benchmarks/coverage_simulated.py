"""How often kdbench's 95 % intervals contain the truth of simulated processes, as a Markdown table.

    python benchmarks/coverage_simulated.py [--draws 1000] [--processes 2]

A cell is the share of runs whose interval contains the truth, and in brackets the median width of the interval as a
share of the value. A second table has the largest possible coverage for correlated sessions (`coverage_bound`).
"""

import argparse
import multiprocessing
from itertools import product

from coverage_bound import best_coverage
from simulated_sessions import FIRST_SESSIONS, MAX_SESSIONS, PROCESSES, STATISTICS, Coverage, Process, coverage

SESSIONS = (5, 8, 12, None)
WIDENING = 1.35  # of kdbench's interval for a median over Student's t, when sessions are independent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="runs a cell")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cells = [(process, sessions, options.draws) for process, sessions in product(PROCESSES, SESSIONS)]
    with multiprocessing.Pool(options.processes) as pool:
        coverages = pool.starmap(coverage, cells, chunksize=1)
    print(f"| process | sessions | {' | '.join(STATISTICS)} |")
    print(f"|---|---:|{'---:|' * len(STATISTICS)}")
    for (process, sessions, _), cell in zip(cells, coverages, strict=True):
        print(_row(process, sessions, cell))
    print(f"\nMost that any interval {WIDENING:g} times as wide as Student's t can hold, sessions AR(1):\n")
    print("| rho | 5 sessions | 8 | 12 |\n|---:|---:|---:|---:|")
    for rho in (0.3, 0.5, 0.8):
        bounds = [f"{100 * best_coverage(sessions, rho, WIDENING):.0f} %" for sessions in (5, 8, 12)]
        print(f"| {rho:g} | {' | '.join(bounds)} |")


def _row(process: Process, sessions: int | None, by_statistic: dict[str, Coverage]) -> str:
    texts = [f"{100 * c.held:.1f} ({100 * c.width:.1f})" if (c := by_statistic.get(s)) else "–" for s in STATISTICS]
    return f"| {process.name} | {sessions or f'{FIRST_SESSIONS} to {MAX_SESSIONS}'} | {' | '.join(texts)} |"


if __name__ == "__main__":
    main()
