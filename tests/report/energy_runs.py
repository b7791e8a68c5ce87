"""The digits run with the energies of several meters."""

from typing import Any

from report.sample_run import SINGLE, interval, pair, record

from kdbench.results.records import Measurement, RunRecord, measured, missing

# J of one inference, gross and net, at batch 1 and batched; J of the training; the ratios with their interval
_ENERGIES = {
    "teacher": ((0.0721, 0.0503), (0.0345, 0.0291), 2150.0, None),
    "student-alone": ((0.0141, 0.00990), (0.00452, 0.00370), 480.0, ((5.11, 4.97, 5.26), (7.63, 7.5, 7.77))),
    "student-kd": ((0.01402, 0.00984), (0.00449, 0.00368), 512.0, ((5.14, 5.0, 5.29), (7.68, 7.5, 7.87))),
}


_CARBON = {"country": "DEU", "name": "Germany", "g_per_kwh": 380.1, "source": "codecarbon 3.3.2"}


_WINDOWS: dict[str, Any] = {"mode": "full", "windows": 5, "window_s": 10.0}


_RAPL = {
    "name": "rapl",
    "scope": "cpu.package",
    "detail": "1 package",
    "evidence": "measured",
    "update_period_ms": 1.0,
    "idle_w": [20.1, 20.2, 20.2, 20.3, 20.2, 20.3],
}


def energies(
    source: str, batches: tuple[int, ...] = (1, 128), times: float = 1.0, co2: bool = False, **axes: str
) -> list[Measurement]:
    """Return the energies of three models at `source`, those of the sample `times` as large; estimates by codecarbon.

    Net energy of student-kd at batch 1 is not resolved, and its energy at batch 128 unstable.
    """
    estimated = source.startswith("codecarbon")
    measurements = []

    def add(name: str, metric: str, joules: float, where: dict[str, Any], unstable: str | None = None) -> None:
        of_energy = metric.endswith("_j")
        value = joules if of_energy else joules / 3.6e6 * _CARBON["g_per_kwh"]
        bounds = None if estimated or metric.startswith("training") else interval(0.97 * value, 1.03 * value)
        evidence = "estimated" if estimated else "measured" if of_energy else "modelled"
        more = {"interval": bounds, "source": source, "evidence": evidence, "unstable": unstable}
        measurements.append(measured(name, metric, value, axes=where, **more))

    for name, (*by_batch, training, _) in _ENERGIES.items():
        for batch, (gross, net) in zip((1, 128), by_batch, strict=True):
            if batch not in batches:
                continue
            where = {**SINGLE, "batch": batch, **axes}
            last = name == "student-kd"
            shaky = "windows differ by 9.2 %" if last and batch == 128 else None
            add(name, "energy_j", times * gross, where, shaky)
            if last and batch == 1:
                why = {"status": "below_resolution", "source": source}
                measurements.append(missing(name, "energy_net_j", "within its uncertainty of 0", axes=where, **why))
            else:
                add(name, "energy_net_j", times * net, where, shaky)
            add(name, "energy_run_j", times * gross * batch, where, shaky)
            if co2:
                add(name, "co2_g", times * gross, where, shaky)
        add(name, "training_j", times * training, dict(axes))
        if co2:
            add(name, "training_co2_g", times * training, dict(axes))
    return measurements


def with_energies(measurements: list[Measurement], protocol: dict[str, Any]) -> RunRecord:
    """Return the digits run with those energies, the pairs that belong to them, and student-hint without any."""
    base = record()
    known = [m for m in base.measurements if not m.metric.startswith("energy_")]
    where = [
        {**m.axes} for m in measurements if m.model == "teacher" and m.metric == "energy_j" and "scope" not in m.axes
    ]
    failed = [
        missing("student-hint", metric, "killed by signal 9", status="error", axes=axes, hint="give it more memory")
        for axes in where
        for metric in ("energy_j", "energy_net_j", "energy_run_j")
    ]
    estimated = measurements[0].evidence == "estimated"
    pairs = []
    for name, (*_, ratios) in _ENERGIES.items():
        for axes, numbers in zip(where, ratios or (), strict=False):
            made = pair("energy_ratio", numbers, {"teacher": "teacher", "student": name}, axes, n=5)
            changes = {"evidence": "estimated", "interval": None} if estimated else {}
            pairs.append(made.model_copy(update=changes))
    return record(
        measurements=(*known, *measurements, *failed),
        pairs=(*base.pairs, *pairs),
        protocol={**base.protocol, **protocol},
    )


def metered() -> RunRecord:
    """Return the digits run with energies by RAPL and their CO₂e: one net not resolved, one unstable, one failed."""
    measurements = energies("rapl, cpu.package", co2=True)
    return with_energies(measurements, {"energy_pass": {**_WINDOWS, "sources": [_RAPL]}, "carbon": _CARBON})


def estimated() -> RunRecord:
    """Return the digits run with estimates of energy, at batch 1 alone, in quick windows."""
    detail = "3.3.2, share of the machine's CPU time × 65 W TDP"
    source = {"name": "codecarbon", "scope": "cpu.estimate", "detail": detail, "evidence": "estimated"}
    quick = {"mode": "quick", "windows": 5, "window_s": 0.5, "resolution": 0.025, "sources": [source]}
    return with_energies(energies("codecarbon, cpu.estimate", batches=(1,)), {"energy_pass": quick})


def metered_gpu() -> RunRecord:
    """Return the digits run with the energy of a GPU's board, of the CPU beside it, and of both together."""
    together = "gpu0.board + cpu.package"
    board = {
        **_RAPL,
        "name": "nvml",
        "scope": "gpu0.board",
        "detail": "total energy counter",
        "update_period_ms": 102.4,
    }
    measurements = [
        *energies("nvml, gpu0.board", times=3.0),
        *energies("rapl, cpu.package", scope="cpu.package"),
        *energies("nvml, gpu0.board; rapl, cpu.package", times=4.0, scope=together),
    ]
    return with_energies(measurements, {"energy_pass": {**_WINDOWS, "sources": [board, _RAPL]}})
