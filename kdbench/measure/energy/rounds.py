"""Windows of energy: which sources to read, and rounds of windows of all models in one process."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from kdbench import extras
from kdbench.errors import MeasurementError
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import Context
from kdbench.measure.energy.account import Account, MeterProfile, accounts
from kdbench.measure.energy.windows import MODES, Run, Source, meter_windows, runs_of, source_of
from kdbench.measure.timed import TimedModel, TimingConfig, axes_of
from kdbench.meters.choice import Choice, choose
from kdbench.meters.meter import Unavailable
from kdbench.recipe.tables.measure import Measure
from kdbench.results.cards import Evidence
from kdbench.results.findings import Failure, Findings
from kdbench.results.samples import energy_key


def sources_for(config: Measure) -> Choice:
    """Return the sources on this machine for the configured provider."""
    if config.energy == "off":
        return Choice(Unavailable("energy is switched off"))
    return choose(config.provider, estimate=config.estimate_energy)


def require_estimator(config: Measure) -> None:
    """Raise MissingExtraError if energy can only be estimated here, and what estimates it is not installed."""
    if config.energy == "off" or not config.estimate_energy or not extras.missing("estimate"):
        return
    if isinstance(choose(config.provider, estimate=False).leading, Unavailable):
        extras.require("estimate", "--estimate-energy")


def expected_s(models: Sequence[BenchModel], config: Measure, choice: Choice) -> float:
    """Return about how many seconds the windows of `models` take."""
    if isinstance(choice.leading, Unavailable):
        return 0.0
    mode = MODES[config.energy]
    lag_s = max(status.meter.lag_s for status in choice.used)
    length_s = max(mode.least_s, mode.least_updates * choice.used[0].meter.lag_s)
    windows = len(runs_of(models, config)) * mode.rounds + mode.rounds + 1
    return windows * (length_s + mode.settle_s + lag_s)


class EnergyConfig(TimingConfig, Protocol):
    """The settings that decide how energy is metered."""

    @property
    def energy(self) -> str:
        """How thoroughly: a key of MODES."""


def sample_energy(context: Context) -> tuple[Mapping[Run, Sequence[Account]], Findings]:
    """Meter the windows of every ready model; return the account of each meter in each run, and the findings so far.

    The findings are the raw windows, facts for the protocol, and failures. A model that ends the process is left out.
    Raises MeasurementError if the leading source fails, or where no single model can be blamed.
    """
    config, mode = context.config, MODES[context.config.energy]
    runs, failed = runs_of(context.ready, config), dict[str, str]()
    jobs = {model.id: context.jobs[model.id] for model in context.ready}
    result = meter_windows(jobs, runs, context.meters, mode, context.runner, context.progress, failed)
    sources = [source_of(status) for status in context.meters.used]
    uncounted = [source.reason for source in context.meters.uncounted]
    return account_findings(context.ready, result, failed, sources, uncounted, config)


def account_findings(
    models: Sequence[TimedModel],
    result: Mapping[str, Any] | None,
    failed: Mapping[str, str],
    sources: Sequence[Source],
    uncounted: Sequence[str],
    config: EnergyConfig,
) -> tuple[Mapping[Run, Sequence[Account]], Findings]:
    """Return the accounts and findings of a process's `result` (None: no model was left); `failed` ended it.

    `sources` were read, the leading one first; `uncounted` is why other parts have no meter. Raises MeasurementError if
    the leading source failed.
    """
    if result is not None and result["fault"]:
        raise MeasurementError(result["fault"], "run kdbench doctor, and measure again")
    reasons = {**failed, **(result["errors"] if result else {})}
    findings = Findings(failures=tuple(Failure(id_, reason) for id_, reason in reasons.items()))
    if result is None:
        return {}, findings
    mode = MODES[config.energy]
    used = [source for source in sources if source.name in result["sources"]]
    meters = [_meter(number, source, result) for number, source in enumerate(used)]
    alive = [run for run in runs_of(models, config) if run[0] not in failed]
    by_run = {run: windows for run, windows in zip(alive, result["windows"], strict=True) if windows}
    reasons_uncounted = [*uncounted, *result["dropped"].values()]
    facts = {
        "mode": config.energy,
        "windows": mode.rounds,
        "window_s": round(result["length_ns"] / 1e9, 3),
        "resolution": mode.resolution,
        "sources": [_facts(source, meter) for source, meter in zip(used, meters, strict=True)],
        **({"uncounted": reasons_uncounted} if reasons_uncounted else {}),
    }
    kept = {energy_key(id_, axes_of(config, batch=batch)): windows for (id_, batch), windows in by_run.items()}
    samples = {name: array for key, windows in kept.items() for name, array in _arrays(key, windows, meters)}
    by_meter = {run: accounts(windows, meters, resolution=mode.resolution) for run, windows in by_run.items()}
    return by_meter, findings + Findings(samples=samples, protocol={"energy_pass": facts})


def _arrays(
    key: str, windows: Sequence[Mapping[str, Any]], meters: Sequence[MeterProfile]
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield the arrays to store of one run's windows, each with its name."""
    yield f"{key}/calls", np.array([w["calls"] for w in windows], dtype=np.int64)
    for number, meter in enumerate(meters):
        yield f"{key}/{meter.name}-j", np.array([w["spans"][number][0] for w in windows], dtype=np.float64)
        yield f"{key}/{meter.name}-ns", np.array([w["spans"][number][1] for w in windows], dtype=np.int64)


def _meter(number: int, source: Source, result: Mapping[str, Any]) -> MeterProfile:
    idle = [window["spans"][number] for window in result["idle"]]
    return MeterProfile(
        name=source.name,
        scope=source.scope,
        evidence=cast("Evidence", source.evidence),
        period_s=result["period_ns"][number] / 1e9,
        idle_w=np.array([joules / (duration_ns / 1e9) for joules, duration_ns in idle]),
        idle_s=min(duration_ns for _, duration_ns in idle) / 1e9,
    )


def _facts(source: Source, meter: MeterProfile) -> dict[str, Any]:
    facts = {"name": meter.name, "scope": meter.scope, "detail": source.detail, "evidence": meter.evidence}
    if meter.evidence != "measured":
        return facts
    idle_w = [round(float(watts), 4) for watts in meter.idle_w]
    return facts | {"update_period_ms": round(1e3 * meter.period_s, 3), "idle_w": idle_w}
