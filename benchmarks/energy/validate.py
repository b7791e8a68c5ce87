"""Check kdbench's energies against other readings of the same board, on a machine that has a meter.

    python -m benchmarks.energy.validate --provider cuda                     about 5 minutes a model
    python -m benchmarks.energy.validate --provider cuda --runtime torch     where onnxruntime has no CUDA provider
    python -m benchmarks.energy.validate --provider cpu                      RAPL, where it can be read
    python -m benchmarks.energy.validate --render                            rewrites the page from the stored figures

Four questions, each of one model called back to back:

1. Energy per inference × rate, from kdbench's windows, against the mean power of the same minute, which a thread of
   this script reads from NVML 20 times per second.
2. All measuring sources of the part side by side, over the same windows.
3. The idle power, with the model loaded, in consecutive windows: how much it varies.
4. Windows of 0.1 to 10 s against the mean of the minute: the length from which on 95 % of them are within 1 %.

Ends with exit code 2 if no source measures energy, so that there is nothing to validate.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.energy import page
from benchmarks.trust.models import CIFAR, CLASSES, Net, bench_model, exported
from kdbench.errors import KdbenchError
from kdbench.files import storage
from kdbench.machine import fingerprint
from kdbench.machine.nvidia import first_visible
from kdbench.measure.energy.account import MeterProfile, accounts, gross
from kdbench.measure.staging import stage
from kdbench.meters.choice import all_meters
from kdbench.meters.meter import Available, Clock, Meter, MeterError, Part, Pause
from kdbench.worker.energy_window import Window, update_period_ns, window
from kdbench.worker.inputs import prepare
from kdbench.worker.jobs import PROVIDERS, Network
from kdbench.worker.loads import Calls
from kdbench.worker.runtimes import runtime
from kdbench.worker.timing import warm_up

RESULTS = Path(__file__).resolve().parents[2] / "reports/energy"
_NETS = {name: Net(name, CIFAR) for name in ("resnet20", "vgg11_bn")}
_PART = {"cpu": Part.CPU, "cuda": Part.GPU}
_IDLE_WINDOWS = 5
_MINUTE_WINDOWS = 6
_LENGTHS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_READ_INTERVAL_S = 0.05
_NAP_S = 0.02
_MIN_S = 0.3  # in which every source that is polled has a new reading

Call = Callable[[], object]


def usable(part: str) -> list[tuple[Meter, str]]:
    """Return every source that measures `part` on this machine, the nearest first, and its details."""
    return [
        (status.meter, status.state.detail)
        for status in all_meters(estimates=False)
        if part in status.meter.stands_for and isinstance(status.state, Available)
    ]


def call_of(net: Net, args: argparse.Namespace) -> Call:
    """Return a call of the net's file, or of its network, with one batch, warm; the weights are random either way."""
    one = bench_model(exported(net, args.folder / "models"))
    one = replace(one, network=Network("kdbench.models:build", (net.name, net.shape, CLASSES)))
    with tempfile.TemporaryDirectory() as temporary:
        model = stage([one], None, Path(temporary), 0)[one.id]
        images = np.load(model.images)
    load = runtime(args.runtime).load
    target = load(model, provider=args.provider, threads=1, spinning=False)
    execute, (arguments,) = target.bind([prepare(images[np.arange(args.batch) % len(images)], model)])
    warm_up(Calls(execute, [arguments]), 1e9)
    return partial(execute, *arguments)


def validated(
    net: Net,
    counters: Sequence[Meter],
    args: argparse.Namespace,
    clock: Clock = time.monotonic_ns,
    pause: Pause = time.sleep,
) -> dict[str, Any]:
    """Return the answers to the four questions for one net; powers in watts, energies in joules of one inference.

    Clock and pause are for tests; the clock must be the counters'.
    """
    call = call_of(net, args)
    periods_s = [update_period_ns(counter, clock) / 1e9 for counter in counters]
    nap = partial(pause, _NAP_S)

    def measure(length_s: float, settle_s: float, what: Call = call, sources: Sequence[Meter] = counters) -> Window:
        least_s = max(2 * periods_s[0], _MIN_S if len(sources) > 1 else 0.0)
        length_ns = max(length_s * args.scale, least_s) * 1e9
        settle_ns = settle_s * args.scale * 1e9
        return window(sources, what, length_ns, settle_ns, clock, period_ns=periods_s[0] * 1e9)

    idle = [measure(10, 3.0, nap) for _ in range(_IDLE_WINDOWS)]
    measure(3, 0.0)  # clocks and temperature come up before the minute begins
    with PowerReadings(args.part or _PART[args.provider]) as readings:
        minute = [measure(10, 0.0) for _ in range(_MINUTE_WINDOWS)]
    short = {length_s: [measure(length_s, 0.1, sources=counters[:1]) for _ in range(20)] for length_s in _LENGTHS_S}
    return {
        "model": net.name,
        "batch": args.batch,
        "periods_s": periods_s,
        "minute": _minute(minute, counters, periods_s, readings.watts, args),
        "idle_w": [[span.energy_j / span.duration_ns * 1e9 for span in w.spans] for w in idle],
        "lengths": [_off(length_s, minute, windows) for length_s, windows in short.items()],
    }


def _minute(
    windows: Sequence[Window], counters: Sequence[Meter], periods_s: list[float], readings_w: list[float], args: Any
) -> dict[str, Any]:
    """Return the minute by each source, and by the board's power read from NVML."""
    meters = [
        MeterProfile(c.name, c.scope, c.evidence, period, np.zeros(2), 1.0)
        for c, period in zip(counters, periods_s, strict=True)
    ]
    rate = sum(w.calls for w in windows) * args.batch / (sum(w.spans[0].duration_ns for w in windows) / 1e9)
    by_source = {}
    for account in accounts([asdict(w) for w in windows], meters, resolution=0.0):
        value = gross(account)
        by_source[account.source] = {
            "energy_j": value.joules / args.batch,
            "half_width_j": value.half_width_j / args.batch,
            "power_w": value.joules / args.batch * rate,
        }
    return {
        "rate_per_s": rate,
        "by_source": by_source,
        "asked_w": statistics.fmean(readings_w) if readings_w else None,
        "asked": len(readings_w),
    }


def _off(length_s: float, minute: Sequence[Window], windows: Sequence[Window]) -> dict[str, float]:
    """Return the largest deviation, as a share, of 95 % of the windows of one length from the minute's energy."""

    def per_call(w: Window) -> float:
        return w.spans[0].energy_j / w.calls

    truth = sum(w.spans[0].energy_j for w in minute) / sum(w.calls for w in minute)
    off = sorted(abs(per_call(w) / truth - 1) for w in windows)
    duration_s = statistics.median(w.spans[0].duration_ns for w in windows) / 1e9
    return {"length_s": length_s, "taken_s": duration_s, "off": off[int(0.95 * len(off)) - 1]}


class PowerReadings:
    """The board's power, read by a thread without any of kdbench's sources; nothing for a CPU."""

    def __init__(self, part: str) -> None:
        self.watts: list[float] = []
        self._on = part == Part.GPU
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        if self._on:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._on:
            self._thread.join()

    def _ask(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        board = first_visible(pynvml)
        while True:  # at least one reading, however short the minute
            self.watts.append(pynvml.nvmlDeviceGetPowerUsage(board) / 1e3)
            if self._ended.wait(_READ_INTERVAL_S):
                break
        pynvml.nvmlShutdown()


def main() -> int:
    """Validate what this machine has, keep the figures, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=sorted(PROVIDERS), default="cuda", help="what runs the models")
    parser.add_argument("--runtime", default="onnxruntime", help="onnxruntime, torch or torch-compiled")
    parser.add_argument("--part", choices=sorted(_PART.values()), help="the part to meter (default: the provider's)")
    parser.add_argument("--nets", nargs="+", choices=sorted(_NETS), default=sorted(_NETS))
    parser.add_argument("--batch", type=int, default=128, metavar="N")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all durations: 0.01 to try the script out")
    parser.add_argument("--folder", type=Path, default=Path("runs/energy"), help="where models are kept, %(default)s")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where figures and page go, reports/energy")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page from the stored figures")
    args = parser.parse_args()
    try:
        if args.render:
            page.write(args.results)
            return 0
        sources = usable(args.part or _PART[args.provider])
        if not sources:
            print("nothing to validate: no source measures energy here (kdbench doctor says why)", file=sys.stderr)
            return 2
        counters = [counter for counter, _ in sources]
        answers = [validated(_NETS[name], counters, args) for name in args.nets]
        for counter in counters:
            counter.close()
        storage.make_folder(args.results)
        storage.write_json(
            args.results / f"validation-{args.part or _PART[args.provider]}.json",
            {
                "settings": {key: getattr(args, key) for key in ("provider", "runtime", "batch", "scale")},
                "environment": fingerprint.fingerprint().model_dump(mode="json"),
                "sources": [{"name": c.name, "scope": c.scope, "detail": detail} for c, detail in sources],
                "models": answers,
            },
        )
        page.write(args.results)
    except MeterError as error:
        print(f"a source failed: {error}", file=sys.stderr)
        return 2
    except KdbenchError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
