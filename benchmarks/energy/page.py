"""The page of validation results: reports/energy/README.md, from the figures in the same folder."""

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.trust.tables.markdown import met, paragraph, percent, signed, table
from kdbench import units
from kdbench.errors import InputError
from kdbench.files import storage

_WITHIN = 0.01

Figures = Mapping[str, Any]


def write(results: Path) -> None:
    """Write the page; raises InputError where there are no figures to write it from."""
    validations = [storage.read_json(path, "validation") for path in sorted(results.glob("validation-*.json"))]
    if not validations:
        raise InputError(f"{results} holds no validation", "run it without --render on a machine that has a meter")
    sections = [line for figures in validations for line in _machine(figures)]
    storage.write_text(results / "README.md", "\n\n".join(["# Are the joules right?", *sections]) + "\n")


def _machine(figures: Figures) -> Iterator[str]:
    host, settings = figures["environment"]["host"], figures["settings"]
    device = host.get("gpu") if settings["provider"] == "cuda" else host.get("cpu")
    yield f"## {device or 'an unnamed device'}"
    yield paragraph(
        f"`python -m benchmarks.energy.validate --provider {settings['provider']} --runtime {settings['runtime']}`, "
        f"batch {settings['batch']}, commit {figures['environment']['git_commit'] or 'unknown'}."
    )
    if settings["scale"] < 1:
        yield paragraph(f"**A trial**: every duration was {settings['scale']:g} of what it should be.")
    yield from _minute(figures)
    yield from _sources(figures)
    yield from _idle(figures)
    yield from _lengths(figures)


def _minute(figures: Figures) -> Iterator[str]:
    yield "### Energy per inference × rate, and the board's power in the same minute"
    rows = []
    for model in figures["models"]:
        minute = model["minute"]
        leading = next(iter(minute["by_source"].values()))
        read_w = minute["asked_w"]
        rows.append(
            [
                f"`{model['model']}`",
                f"{units.energy(leading['energy_j'])} ± {percent(leading['half_width_j'] / leading['energy_j'])}",
                units.rate(minute["rate_per_s"]),
                units.power(leading["power_w"]),
                "n/a (no second reading)" if read_w is None else f"{units.power(read_w)} ({minute['asked']} readings)",
                "–" if read_w is None else _apart(leading["power_w"] / read_w - 1),
            ]
        )
    yield table(["Model", "Energy / inference", "Rate", "Product", "Power read from NVML", "Apart"], rows)


def _sources(figures: Figures) -> Iterator[str]:
    yield "### Sources over the same windows"
    names = list(figures["models"][0]["minute"]["by_source"])
    rows = []
    for model in figures["models"]:
        powers = [source["power_w"] for source in model["minute"]["by_source"].values()]
        cells = [units.power(powers[0]), *(f"{units.power(p)} ({_apart(p / powers[0] - 1)})" for p in powers[1:])]
        rows.append([f"`{model['model']}`", *cells])
    yield table(["Model", *(f"`{name}`" for name in names)], rows)
    yield paragraph(
        "Mean power; in parentheses how far it is from the first source's. Update periods: "
        + ", ".join(
            f"{source['name']} {units.time(period_s * 1e9)}"
            for source, period_s in zip(figures["sources"], figures["models"][0]["periods_s"], strict=True)
        )
        + "."
    )


def _idle(figures: Figures) -> Iterator[str]:
    yield "### Idle power, the model loaded"
    rows = []
    for model in figures["models"]:
        watts = [of_window[0] for of_window in model["idle_w"]]
        mean = statistics.fmean(watts)
        drift = (watts[-1] - watts[0]) / mean if mean else 0.0
        spread = statistics.stdev(watts) / mean if mean else 0.0
        rows.append([f"`{model['model']}`", units.power(mean), percent(spread), _apart(drift)])
    yield table(["Model", "Mean", "Standard deviation", "Last window against the first"], rows)


def _lengths(figures: Figures) -> Iterator[str]:
    yield "### How long a window has to be"
    lengths = [length["length_s"] for length in figures["models"][0]["lengths"]]
    rows = []
    for model in figures["models"]:
        good = _smallest([(length["length_s"], length["off"]) for length in model["lengths"]])
        smallest = f"{met(good is not None)}: {good:g} s" if good is not None else met(holds=False)
        rows.append([f"`{model['model']}`", *(percent(length["off"]) for length in model["lengths"]), smallest])
    yield table(["Model", *(f"{length:g} s" for length in lengths), "Within 1 % from"], rows)
    yield paragraph(
        "The largest deviation of 95 % of 20 windows from the energy per call of the whole minute. A window ends at "
        "the counter's next edge and is no shorter than two of its updates."
    )


def _apart(share: float) -> str:
    return signed(percent(share), share)


def _smallest(lengths: list[tuple[float, float]]) -> float | None:
    """Return the length from which on every longer one is within 1 % too; None where the longest is not."""
    good = None
    for length_s, off in sorted(lengths, reverse=True):
        if off > _WITHIN:
            break
        good = length_s
    return good
