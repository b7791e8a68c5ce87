"""`kdbench --help`: every command with its module and its summary, as one text that needs no parser.

Loading typer takes longer than everything else that the overview does.
"""

import shutil
import textwrap
from collections.abc import Mapping

# Each command: where it is, and the first sentence of its help.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("init.init", "Write a commented recipe for your data and models."),
    "run": ("run.run", "Train, distil, export, measure and report: the whole recipe."),
    "train": ("run.train", "Train a recipe's teachers and students, and stop there."),
    "sweep": (
        "sweep.sweep",
        "Train, measure and report a recipe at every point of a grid of values, with several seeds.",
    ),
    "bench": (
        "bench.bench",
        "Measure ONNX models and torch networks: accuracy, latency, cost, size and energy, with ratios.",
    ),
    "compress": (
        "compress.compress",
        "Compress an ONNX model: a smaller file for each method, with a card that says how it was made.",
    ),
    "macs": ("macs.macs", "Count a model's multiply-accumulates for one sample."),
    "compare": (
        "compare.compare",
        "Compare two runs: which metrics changed significantly and by more than a threshold.",
    ),
    "ready": (
        "ready.ready",
        "Judge a run's models against a device's requirements: PASS, FAIL, MARGINAL or UNKNOWN, and why.",
    ),
    "bundle": (
        "bundle.bundle",
        "Pack a run's models, inputs and measuring code for a device that has Python, numpy and onnxruntime.",
    ),
    "merge": (
        "merge.merge",
        "Add a device's measurements to a run's record, with the axis `device`, and write the reports again.",
    ),
    "report": ("report.report", "Write the reports of a run again from its record."),
    "show": ("show.show", "Print a run's tables again, from its record."),
    "open": ("open.open_", "Open a run's report.html in the browser, without a server."),
    "history": ("history.history", "Show metrics over the records of many runs, with intervals, and find changes."),
    "list": (
        "list.list_",
        "List recipes, datasets, models, methods, compressors, trackers, formats, styles or targets.",
    ),
    "doctor": (
        "doctor.doctor",
        "Check the host, the libraries, what affects latencies, the energy counters and the data.",
    ),
}
PURPOSE = "Is this compressed model ready to replace its teacher? Train, distil, export, measure and report."
EXIT_CODES = "Exit codes: 0 done, 1 a gate failed, 2 inconclusive, 3 wrong input, 4 internal error, 130 interrupted."
_OPTIONS = {
    "--version": "Print the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "-h, --help": "Show this message and exit.",
}
_NARROWEST, _WIDEST = 50, 78


def overview() -> str:
    """Return the help of `kdbench` itself, as wide as the terminal allows."""
    width = min(max(shutil.get_terminal_size().columns - 2, _NARROWEST), _WIDEST)
    commands = {name: summary for name, (_, summary) in COMMANDS.items()}
    return "\n\n".join([
        "Usage: kdbench [OPTIONS] COMMAND [ARGS]...",
        textwrap.indent(textwrap.fill(PURPOSE, width - 2), "  "),
        "Options:\n" + _definitions(_OPTIONS, width),
        "Commands:\n" + _definitions(commands, width),
        textwrap.indent(textwrap.fill(EXIT_CODES, width - 2), "  "),
    ])  # fmt: skip


def _definitions(texts: Mapping[str, str], width: int) -> str:
    """Return a line or more for each term, the texts in one column."""
    column = 2 + max(map(len, texts)) + 2
    return "\n".join(
        textwrap.fill(text, width, initial_indent=f"  {term}".ljust(column), subsequent_indent=" " * column)
        for term, text in texts.items()
    )
