"""Before anything is measured: the state of the device, and what makes its numbers unreliable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdbench.edge.exchange.plan import Plan
from kdbench.machine.host import host_facts, libraries
from kdbench.machine.memory import MemoryUnknownError, available_bytes
from kdbench.machine.system_files import ROOT, clock_khz, fields, temperature_c
from kdbench.machine.throttling import board_flags, cooling
from kdbench.worker.timing import clock_step_ns

HOT_C = 70.0  # boards begin to slow down between 80 and 85 °C
_DOT_PRODUCTS = {"asimddp", "i8mm", "avx512_vnni", "avx_vnni", "amx_int8"}
# What decides which kernels there are for 8-bit and 16-bit numbers, as Linux calls it.
FEATURES = (
    *("asimddp", "i8mm", "asimdhp", "sve", "sve2", "bf16"),
    *("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8"),
)
_DECISIVE = {"numpy", "onnxruntime", "onnxruntime-gpu"}
_NOW = 0xF  # bits of a Raspberry Pi's flags that hold at the moment; the same 16 higher held since start-up


@dataclass(frozen=True)
class PreflightWarning:
    """A problem before the measurement, and what to do about it."""

    code: str
    message: str
    remedy: str


def device_of(plan: Plan) -> dict[str, Any]:
    """Return the facts about this device, its libraries and its state, and what to warn of, as JSON values.

    `versions` are those that must stay the same when a measurement continues.
    """
    facts, now, versions = host_facts(), state(), libraries()
    return {
        "host": facts,
        "libraries": {**versions, "kdbench": plan.kdbench},
        "versions": {name: version for name, version in versions.items() if name in _DECISIVE},
        "state": now,
        "warnings": [asdict(warning) for warning in warnings(plan, now, facts)],
        "clock_step_ns": clock_step_ns(),
    }


def state(root: Path = ROOT) -> dict[str, Any]:
    """Return the present state of the device; None for facts that it does not report."""
    try:
        available: int | None = available_bytes(root)
    except (MemoryUnknownError, OSError):
        available = None
    return {
        "temperature_c": temperature_c(root),
        "clock_khz": clock_khz(root),
        "board_flags": board_flags().read(),
        "cooling": cooling(root).read(),
        "available_bytes": available,
        "features": features(root),
    }


def features(root: Path = ROOT) -> list[str]:
    """Return which of FEATURES the processor has."""
    cpuinfo = fields(root / "proc/cpuinfo", ":")
    flags = set(re.split(r"\s+", cpuinfo.get("flags") or cpuinfo.get("Features") or ""))
    return [name for name in FEATURES if name in flags]


def warnings(plan: Plan, now: dict[str, Any], facts: dict[str, Any]) -> Iterator[PreflightWarning]:
    """Yield a warning for each condition that makes measuring now unreliable, from the `state` and the facts."""
    if (degrees := now["temperature_c"]) is not None and degrees >= HOT_C:
        yield PreflightWarning(
            "hot", f"its temperature is already {degrees:.0f} °C", "let it cool down, and measure again"
        )
    if flags := int(now["board_flags"] or 0):
        when = "at the moment" if flags & _NOW else "since start-up"
        message = f"the board reports under-voltage or throttling {when} ({flags:#x})"
        yield PreflightWarning(
            "board_flags", message, "use the official power supply and a heat sink or fan, then restart it"
        )
    if now["cooling"]:
        yield PreflightWarning(
            "cooling", "the system slows the processor down to cool it", "let it cool down, and measure again"
        )
    needed = max((model.memory_bytes for model in plan.models), default=0)
    if (available := now["available_bytes"]) is not None and available < needed:
        message = f"{available / 1e6:,.0f} MB of memory are free, and a model takes about {needed / 1e6:,.0f} MB"
        yield PreflightWarning("little_memory", message, "end other programs, or bundle smaller models")
    integers = [model.name for model in plan.models if model.tolerance.kind == "int8"]
    if integers and now["features"] and not _DOT_PRODUCTS & set(now["features"]):
        message = f"the processor has no instructions for sums of 8-bit products, which {', '.join(integers)} would use"
        yield PreflightWarning("no_dot_product", message, "expect INT8 to be no faster than float here")
    if (governor := facts.get("governor")) not in {None, "performance"}:
        remedy = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield PreflightWarning(
            "governor", f"the CPU frequency governor is {governor}: the clock varies with the load", remedy
        )
