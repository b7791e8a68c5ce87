"""Rounds of energy windows of all models in one process: which sources are read, and the accounts of each run."""

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
    """Return the meters of this machine for the configured provider."""
    if config.energy == "off":
        return Choice(Unavailable("energy is switched off"))
    return choose(config.provider, estimate=config.estimate_energy)


def require_estimator(config: Measure) -> None:
    """Raise MissingExtraError if this machine can only estimate energy and the extra for that is not installed."""
    if config.energy == "off" or not config.estimate_energy or not extras.missing("estimate"):
        return
    if isinstance(choose(config.provider, estimate=False).leading, Unavailable):
        extras.require("estimate", "--estimate-energy")


def expected_s(models: Sequence[BenchModel], config: Measure, choice: Choice) -> float:
    """Return the estimated seconds that the windows of `models` take."""
    if isinstance(choice.leading, Unavailable):
        return 0.0
    mode = MODES[config.energy]
    lag_s = max(status.meter.lag_s for status in choice.used)
    window_s = max(mode.least_s, mode.least_updates * choice.used[0].meter.lag_s)
    windows = len(runs_of(models, config)) * mode.rounds + mode.rounds + 1
    return windows * (window_s + mode.settle_s + lag_s)


class EnergyConfig(TimingConfig, Protocol):
    """The settings that decide how energy is metered."""

    @property
    def energy(self) -> str:
        """How thoroughly energy is metered: a key of MODES."""


def sample_energy(context: Context) -> tuple[Mapping[Run, Sequence[Account]], Findings]:
    """Meter the windows of every ready model; return the account of each meter in each run, and findings.

    The findings are the raw windows, facts for the protocol, and failures. A model that ends the process is excluded.
    Raises MeasurementError if the leading source fails, or a process dies and it is unknown which model caused it.
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
    """Return the accounts and findings of a process's `result`, as `sample_energy` does.

    result: None if no model was left.
    failed: why models ended a process, by model.
    sources: those that were read, the leading one first.
    uncounted: why other parts of the machine have no meter.

    Raises MeasurementError if the leading source failed.
    """
    if result is not None and result["fault"]:
        raise MeasurementError(result["fault"], "run kdbench doctor, and measure again")
    reasons = {**failed, **(result["errors"] if result else {})}
    findings = Findings(failures=tuple(Failure(id_, reason) for id_, reason in reasons.items()))
    if result is None:
        return {}, findings
    mode = MODES[config.energy]
    used = [source for source in sources if source.name in result["sources"]]
    meters = [_meter_profile(number, source, result) for number, source in enumerate(used)]
    runs = [run for run in runs_of(models, config) if run[0] not in failed]
    by_run = {run: windows for run, windows in zip(runs, result["windows"], strict=True) if windows}
    reasons_uncounted = [*uncounted, *result["dropped"].values()]
    facts = {
        "mode": config.energy,
        "windows": mode.rounds,
        "window_s": round(result["length_ns"] / 1e9, 3),
        "resolution": mode.resolution,
        "sources": [_meter_facts(source, meter) for source, meter in zip(used, meters, strict=True)],
        **({"uncounted": reasons_uncounted} if reasons_uncounted else {}),
    }
    by_key = {energy_key(id_, axes_of(config, batch=batch)): windows for (id_, batch), windows in by_run.items()}
    samples = {name: array for key, windows in by_key.items() for name, array in _arrays(key, windows, meters)}
    run_accounts = {run: accounts(windows, meters, resolution=mode.resolution) for run, windows in by_run.items()}
    return run_accounts, findings + Findings(samples=samples, protocol={"energy_pass": facts})


def _arrays(
    key: str, windows: Sequence[Mapping[str, Any]], meters: Sequence[MeterProfile]
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield the names and arrays of one run's raw windows."""
    yield f"{key}/calls", np.array([w["calls"] for w in windows], dtype=np.int64)
    for number, meter in enumerate(meters):
        yield f"{key}/{meter.name}-j", np.array([w["spans"][number][0] for w in windows], dtype=np.float64)
        yield f"{key}/{meter.name}-ns", np.array([w["spans"][number][1] for w in windows], dtype=np.int64)


def _meter_profile(number: int, source: Source, result: Mapping[str, Any]) -> MeterProfile:
    idle = [window["spans"][number] for window in result["idle"]]
    return MeterProfile(
        name=source.name,
        scope=source.scope,
        evidence=cast("Evidence", source.evidence),
        period_s=result["period_ns"][number] / 1e9,
        idle_w=np.array([joules / (duration_ns / 1e9) for joules, duration_ns in idle]),
        idle_s=min(duration_ns for _, duration_ns in idle) / 1e9,
    )


def _meter_facts(source: Source, meter: MeterProfile) -> dict[str, Any]:
    """Return the facts of a meter for the protocol; an estimate has neither updates nor idle power."""
    facts = {"name": meter.name, "scope": meter.scope, "detail": source.detail, "evidence": meter.evidence}
    if meter.evidence != "measured":
        return facts
    idle_w = [round(float(watts), 4) for watts in meter.idle_w]
    return facts | {"update_period_ms": round(1e3 * meter.period_s, 3), "idle_w": idle_w}
