"""The energy pass: joules and CO₂e of each model, per inference and per run, and students' ratios."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from operator import add
from typing import Any

from kdbench.errors import MeasurementError
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of, expected_pair
from kdbench.measure.energy.account import Account, Value, gross, net, ratio
from kdbench.measure.energy.carbon import CarbonIntensity, carbon_intensity, emission
from kdbench.measure.energy.rounds import expected_s, sample_energy
from kdbench.measure.energy.windows import Run
from kdbench.measure.timed import ONNXRUNTIME, TimedModel, TimingConfig, axes_of, compared, outer_batches
from kdbench.meters.meter import Unavailable
from kdbench.results.findings import Failure, Findings, estimated_pair, missing_pair
from kdbench.results.records import Axes, Interval, Measurement, Pair, measured, missing

Accounts = Mapping[Run, Sequence[Account]]  # of each meter in each run, the leading one first


@PASSES.register("energy")
class EnergyPass(Pass):
    """Energy of each model at batch 1 and at the largest; unavailable if no meter counts the part that runs it."""

    order = 100

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the metrics at each outer batch; ratios only where there is a meter."""
        country, metered = context.config.country, not isinstance(context.meters.leading, Unavailable)
        metrics = ("energy_j", "energy_net_j", "energy_run_j", *(["co2_g"] if country else []))
        for model in context.timed:
            for batch in outer_batches(model, context.config):
                yield from expected_of([model], metrics, context.axes(batch=batch), ONNXRUNTIME)
        for teacher, student in compared(context.timed) if metered else ():
            for batch in outer_batches(student, context.config):
                yield expected_pair(teacher, student, "energy_ratio", context.axes(batch=batch), ONNXRUNTIME)

    def weight(self, context: Context) -> float:
        """Return the estimated seconds of the windows."""
        return expected_s(context.ready, context.config, context.meters)

    def run(self, context: Context) -> Findings:
        """Meter rounds of windows."""
        if not context.ready:
            return Findings()
        country = context.config.country
        intensity = carbon_intensity(country) if country else None
        findings = Findings(protocol={"carbon": asdict(intensity)} if intensity else {})
        if isinstance(leading := context.meters.leading, Unavailable):
            return findings + Findings(failures=(Failure(None, leading.reason, "unavailable", leading.hint or None),))
        try:
            accounts, sampled = sample_energy(context)
        except MeasurementError as error:
            return findings + Findings(failures=(Failure(None, error.message, "error", error.hint or None),))
        return findings + energy_findings(context.ready, accounts, context.config, intensity) + sampled


def energy_findings(
    models: Sequence[TimedModel], accounts: Accounts, config: TimingConfig, intensity: CarbonIntensity | None = None
) -> Findings:
    """Return the energies of the models' `accounts`, and the ratios of students."""
    measurements = tuple(m for model in models for m in _model_energies(model, accounts, config, intensity))
    return Findings(measurements, tuple(p for t, s in compared(models) for p in _ratios(t, s, accounts, config)))


def _model_energies(
    model: TimedModel, accounts: Accounts, config: TimingConfig, intensity: CarbonIntensity | None
) -> Iterator[Measurement]:
    """Yield the measurements of each run: the leading scope's without the axis `scope`, then all others with it."""
    for batch in outer_batches(model, config):
        if (model.id, batch) not in accounts:
            continue
        axes = axes_of(config, batch=batch)
        leading, *others = accounts[model.id, batch]
        yield from _account_energies(model.id, leading, batch, axes, intensity)
        total = [reduce(add, [leading, *others])] if others else []
        for account in (*others, *total):
            yield from _account_energies(model.id, account, batch, {**axes, "scope": account.scope}, intensity)


def _account_energies(
    model: str, account: Account, batch: int, axes: Axes, intensity: CarbonIntensity | None
) -> Iterator[Measurement]:
    call = gross(account)
    per_inference = _measurement(model, "energy_j", call, batch, account, axes)
    yield per_inference
    if account.evidence == "measured":
        yield _measurement(model, "energy_net_j", net(account), batch, account, axes)
    else:
        reason = "an estimate has no idle power"
        yield missing(model, "energy_net_j", reason, axes=axes, source=account.source, evidence=account.evidence)
    yield _measurement(model, "energy_run_j", call, 1, account, axes)
    if intensity is not None:
        yield emission(per_inference, "co2_g", intensity)


def _measurement(model: str, metric: str, value: Value, inferences: int, account: Account, axes: Axes) -> Measurement:
    """Return `value`, divided by `inferences`, as a measurement.

    An estimate has no interval: its spread does not show how wrong the assumed power is.
    """
    details: dict[str, Any] = {"axes": axes, "source": account.source, "evidence": account.evidence}
    if not value.resolved:
        return missing(model, metric, "within its uncertainty of 0", status="below_resolution", **details)
    joules, half = value.joules / inferences, value.half_width_j / inferences
    interval = Interval(low=joules - half, high=joules + half) if account.evidence == "measured" else None
    n = len(account.gross_j)
    return measured(model, metric, joules, interval=interval, n=n, unstable=value.unstable, **details)


def _ratios(teacher: TimedModel, student: TimedModel, accounts: Accounts, config: TimingConfig) -> Iterator[Pair]:
    """Yield teacher over student of the leading scope's gross energy per inference, at each batch of the student."""
    for batch in outer_batches(student, config):
        ids, axes = (teacher.id, student.id), axes_of(config, batch=batch)
        if batch not in outer_batches(teacher, config):
            yield missing_pair(*ids, "energy_ratio", f"{teacher.id}: not run at batch {batch}", axes=axes)
        elif all((id_, batch) in accounts for id_ in ids):
            yield _ratio(ids, accounts[teacher.id, batch][0], accounts[student.id, batch][0], axes)


def _ratio(ids: tuple[str, str], teacher: Account, student: Account, axes: Axes) -> Pair:
    """Return the energy ratio of two accounts; `ids` are those of teacher and student."""
    pair = (*ids, "energy_ratio")
    details: dict[str, Any] = {"axes": axes, "evidence": teacher.evidence}
    energies = dict(zip(ids, (gross(teacher), gross(student)), strict=True))
    if not all(value.resolved for value in energies.values()):
        return missing_pair(*pair, "an energy is within its uncertainty of 0", "below_resolution", **details)
    unstable = next((f"{id_}: {value.unstable}" for id_, value in energies.items() if value.unstable), None)
    estimate = ratio(teacher, student)
    if teacher.evidence != "measured":
        estimate = replace(estimate, low=None, high=None)
    return estimated_pair(*pair, estimate, status="unstable" if unstable else "ok", reason=unstable, **details)
