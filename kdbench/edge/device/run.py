"""Measure the models of this bundle on this device, and pack the results for `kdbench merge`.

    python3 run.py                  everything: a few minutes
    python3 run.py --sustain 30m    and half an hour of calls without a pause afterwards

It needs Python 3.9 or later, numpy and onnxruntime, and nothing else; the folder kdbench/ beside it holds the parts of
kdbench that it runs. Ctrl-C keeps what is done, and the same command continues from there. The result is result.zip.

The steps, in order:

- check that the files are those that the host packed (exit code 3 if not), and the state of the device;
- compare every model's outputs with the host's, and list the kernels that run;
- measure latency in sessions of fresh processes, which interleave the models; then start-up and memory;
- measure energy, if there is a meter, and sustained load, if `--sustain` is given.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 9):  # noqa: UP036 - users of an older Python read this
    sys.exit("error: this needs Python 3.9 or later")

import argparse
import hashlib
import os
import shlex
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 3, 130
HERE = Path(__file__).resolve().parent
COPY_AGAIN = "copy the bundle to the device again, and unpack it into a new folder"


def main(arguments: Sequence[str] | None = None, bundle: Path = HERE) -> int:
    """Measure the bundle in the folder `bundle` and return the exit code."""
    options = parse(arguments, bundle)
    for library in ("numpy", "onnxruntime"):
        if find_spec(library) is None:
            return refuse(f"{library} is not installed", f"{sys.executable} -m pip install {library}")
    if name := damaged_code(bundle):
        return refuse(f"{name} is not the file that the host packed", COPY_AGAIN)
    if options.work.resolve() == bundle.resolve():  # the device's outputs would replace the host's
        return refuse(f"--work: {options.work} is the folder of the bundle", "name another folder, such as --work work")
    from kdbench.errors import KdbenchError

    try:
        return measure(bundle, options)
    except KdbenchError as error:
        return refuse(error.message, error.hint)


def measure(bundle: Path, options: argparse.Namespace) -> int:
    """Go through the steps; those that an earlier call has completed are not repeated."""
    from kdbench.edge.device.measuring import STEPS, Measurement, discard_other_loads, steps_of
    from kdbench.edge.device.opening import open_bundle
    from kdbench.edge.device.packing import pack
    from kdbench.edge.device.preflight import device_of
    from kdbench.edge.device.settings import requested, settings_for
    from kdbench.edge.device.store import Store, forget
    from kdbench.edge.device.summary import summary
    from kdbench.edge.device.terminal import TerminalProgress, say, shown_path
    from kdbench.machine.lock import machine_lock
    from kdbench.processes import temporary

    plan, identity = open_bundle(bundle)
    wanted = requested(options.budget, options.threads, options.sustain)
    settings = settings_for(plan, wanted)
    device = device_of(plan)
    machine = device["host"]["board"] or device["host"]["cpu"]
    say(f"{plan.run}: {len(plan.models)} models, for {plan.target}, on {machine}")
    for warning in device["warnings"]:
        say(f"warning: {warning['message']}: {warning['remedy']}")
    if options.check:
        return 0
    if options.fresh:
        forget(options.work, STEPS)
    common = {"bundle": identity, "settings": asdict(settings), "versions": device["versions"]}
    store = Store(options.work, common)
    if store.read("device") is None:
        store.write("device", device)

    progress, complete = TerminalProgress(), False
    end_as_by_ctrl_c(with_input=options.fetched)
    with temporary.folder() as folder:
        measurement = Measurement(plan, settings, store, folder, progress)
        try:
            with machine_lock(progress):
                steps = steps_of(wanted.sustain_s)
                discard_other_loads(store, wanted.sustain_s)
                for number, (name, step) in enumerate(steps.items(), 1):
                    progress.stage(name.replace("_", " "), number, len(steps))
                    if store.read(name) is None:
                        store.write(name, step(measurement))
            complete = True
        except KeyboardInterrupt:
            say("\ninterrupted: finished results are kept, and the same command continues from there")
        pack(options.out, store, plan, identity, settings, complete=complete)
        for line in summary(measurement, by_hand=not options.fetched):
            say(line)
    if not options.fetched:
        say(f"{'result' if complete else 'result so far'}: {shown_path(options.out)}")
        words = ("kdbench", "merge", plan.folder or "RUN", options.out.name)
        say(f"next: copy it to the host, and there: {' '.join(map(shlex.quote, words))}")
    return 0 if complete else EXIT_INTERRUPTED


def end_as_by_ctrl_c(*, with_input: bool = False) -> None:
    """Let the other signals that end a program do so as Ctrl-C does, which keeps finished results.

    So does the end of standard input `with_input`.

    SIGHUP is that of a closed connection; where it is ignored, `nohup` means that the measurement goes on. SIGINT is
    ignored in the background jobs of a script, and ends this program there too.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    if with_input:
        end_with_standard_input()


def end_with_standard_input() -> None:
    """End as by Ctrl-C when standard input ends: the host holds it open, and without a terminal no signal comes."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock, held by this thread, would not let Python end
            pass
        signal.pthread_kill(main_thread, signal.SIGINT)

    threading.Thread(target=wait, daemon=True, name="host").start()


def damaged_code(bundle: Path) -> str:
    """Return the first file of Python code that is missing or changed, before any of it runs; empty if none is.

    Code that was cut off would end in a traceback. `open_bundle` checks the list itself, and all other files.
    """
    try:
        listed = (bundle / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return "SHA256SUMS"
    for line in listed:
        digest, _, name = line.partition("  ")
        try:
            if name.endswith(".py") and hashlib.sha256((bundle / name).read_bytes()).hexdigest() != digest:
                return name
        except (OSError, ValueError):
            return name
    return ""


def parse(arguments: Sequence[str] | None, bundle: Path) -> argparse.Namespace:
    """Return the options; a wrong one ends the program with exit code 3."""
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=bundle / "result.zip", help="the result's file (default: next to run.py)"
    )
    parser.add_argument("--work", type=Path, default=bundle / "work", help="folder for results so far")
    parser.add_argument("--fresh", action="store_true", help="start again, without earlier results")
    parser.add_argument("--budget", metavar="TIME", help="maximum time for latency, such as 60s (default: the host's)")
    parser.add_argument("--threads", metavar="N,…", help="thread counts, such as 1,4 (default: the host's choice)")
    parser.add_argument("--sustain", metavar="TIME", help="call the models without a pause for this long, such as 30m")
    parser.add_argument("--check", action="store_true", help="check the files and the device, then stop")
    parser.add_argument("--fetched", action="store_true", help=argparse.SUPPRESS)  # the host fetches and merges
    try:
        return parser.parse_args(arguments)
    except SystemExit as end:
        sys.exit(EXIT_BAD_INPUT if end.code else 0)


def refuse(message: str, hint: str) -> int:
    """Say what is wrong, and what to do about it."""
    sys.stderr.write(f"error: {message}\n" + (f"hint: {hint}\n" if hint else ""))
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
