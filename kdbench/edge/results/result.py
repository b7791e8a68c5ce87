"""A device's result, checked against the bundle that it measured: its models, its numbers and its raw samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from kdbench.edge.bundles.stored_bundles import KnownBundle, known_bundle
from kdbench.edge.exchange.archive import sha256
from kdbench.edge.exchange.parity import Parity, parity
from kdbench.edge.exchange.plan import BundledModel, Settings
from kdbench.edge.results.opened_archive import open_result, text_of
from kdbench.edge.results.raw_samples import ResultChecker, array_of, check_samples
from kdbench.edge.results.step_values import Metered, Unmetered, Windows
from kdbench.edge.results.values import ResultContent, StoredSession
from kdbench.errors import InputError
from kdbench.files.plain_json import plain_json
from kdbench.measure.energy.windows import MODES, runs_of
from kdbench.measure.latency.configurations import configurations
from kdbench.measure.timed import outer_batches
from kdbench.results.run_folder import RunFolder
from kdbench.user_input.validation import problem
from kdbench.worker.decoding import decode

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Result:
    """A checked result; `id` is its SHA-256. `outcomes` are the models' parities, `sessions` the samples of each.

    `timed` are the models that were timed: their outputs are the host's.
    """

    id: str
    content: ResultContent
    known: KnownBundle
    settings: Settings
    outcomes: Mapping[str, Parity]
    outputs: Mapping[str, NDArray[np.generic]]
    timed: tuple[BundledModel, ...]
    sessions: Mapping[int, bytes]


def read_result(path: Path, folder: RunFolder) -> Result:
    """Read the result at `path` of a bundle of the run in `folder`; raises InputError for whatever is wrong with it."""
    members = open_result(path)
    content = _content(text_of(members, path), path)
    known = known_bundle(content.bundle, folder)
    wrong = ResultChecker(path)
    chosen = content.settings
    settings = replace(known.plan.settings, threads=chosen.threads, budget_s=chosen.budget_s)
    wrong.require(asdict(settings) == _as_settings(chosen.model_dump()), "was measured with other settings")
    ids = {model.id for model in known.plan.models}
    for named in _named_models(content):
        wrong.require(named in ids, f"has numbers of {named!r}, which is not a model of its bundle")
    outputs = _outputs(members, known, wrong)
    outcomes = _outcomes(content, known, outputs, wrong)
    timed = tuple(model for model in known.plan.models if model.id in outcomes and not outcomes[model.id].failed)
    _check_processes(content, known, settings, timed, wrong)
    sessions = _sessions(members, content.sessions, timed, settings, wrong)
    _check_energy(content, settings, timed, wrong)
    _check_sustained(content, settings, timed, wrong)
    return Result(sha256(path), content, known, settings, outcomes, outputs, timed, sessions)


def _content(text: str, path: Path) -> ResultContent:
    try:
        plain_json(text)  # no NaN, no number beyond 64 bits, no half of a character
        return ResultContent.model_validate_json(text, strict=True)
    except ValidationError as error:
        message = f"{path} is not a valid result: {problem(error).message}"
        raise InputError(message, "measure it with the kdbench that made the bundle") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable result: {error}", "copy it from the device again") from error


def _as_settings(chosen: Mapping[str, Any]) -> dict[str, Any]:
    settings: Settings = decode(Settings, {key: _listed(value) for key, value in chosen.items()})
    return asdict(settings)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _named_models(content: ResultContent) -> set[str]:
    """Return every model that the result names."""
    steps = content.steps
    named = set(steps.parity or {})
    if steps.kernels is not None:
        named |= steps.kernels.nodes.keys() | steps.kernels.failed.keys()
    if steps.cold_start is not None:
        named |= steps.cold_start.results.keys() | steps.cold_start.failed.keys()
    named |= {run.model for run in steps.memory or ()}
    if isinstance(steps.energy, Metered):
        named |= steps.energy.failed.keys() | (steps.energy.result.errors.keys() if steps.energy.result else set())
    if steps.sustained is not None:
        named |= set(steps.sustained.ids)
    for kept in content.sessions:
        named |= kept.session.lost.keys()
        for configuration in kept.session.result.configurations if kept.session.result else ():
            named |= configuration.errors.keys() | configuration.call_ns.keys() | configuration.warm_up_calls.keys()
    return named


def _outputs(members: Mapping[str, bytes], known: KnownBundle, wrong: ResultChecker) -> dict[str, NDArray[np.generic]]:
    models = known.plan.models
    names = {f"outputs/{number}.npy": model.id for number, model in enumerate(models)}
    outputs = {}
    for name in (name for name in members if name.startswith("outputs/")):
        wrong.require(name in names, f"holds {name}, which belongs to no model")
        outputs[names[name]] = array_of(members[name], name, wrong)
    for id_, array in outputs.items():
        expected = known.outputs[id_]
        wrong.require(array.dtype.kind in "fiu", f"has outputs of {id_} that are not numbers")
        fits = array.ndim == 2 and len(array) == len(expected)
        wrong.require(fits, f"has outputs of {id_} of shape {array.shape}, not {expected.shape}")
    return outputs


def _outcomes(
    content: ResultContent, known: KnownBundle, outputs: Mapping[str, NDArray[np.generic]], wrong: ResultChecker
) -> dict[str, Parity]:
    """Return the parity of every model, computed here again: it decides whether times count."""
    outcomes = {}
    for id_, reported in (content.steps.parity or {}).items():
        model = next(model for model in known.plan.models if model.id == id_)
        if id_ not in outputs:
            wrong.require(bool(reported.failed), f"has no outputs of {id_}")
            outcomes[id_] = Parity(0.0, 0, 0, reported.failed)
            continue
        recomputed = parity(outputs[id_], known.outputs[id_], model.tolerance)
        same = abs(recomputed.max_abs - reported.max_abs) <= _ROUNDING * max(recomputed.max_abs, 1.0)
        agree = same and (recomputed.changed, bool(recomputed.failed)) == (reported.changed, bool(reported.failed))
        wrong.require(agree, f"has a parity result of {id_} that contradicts its outputs")
        outcomes[id_] = recomputed
    return outcomes


def _check_processes(
    content: ResultContent, known: KnownBundle, settings: Settings, timed: Sequence[BundledModel], wrong: ResultChecker
) -> None:
    """Check that fresh processes are of models that were timed, and no more than the plan has."""
    ids, steps, plan = {model.id for model in timed}, content.steps, known.plan
    if (starts := steps.cold_start) is not None:
        for id_, processes in starts.results.items():
            wrong.require(id_ in ids, f"has start-up times of {id_}, whose outputs differ from the host's")
            wrong.require(0 < len(processes) <= plan.cold_start_processes, f"has {len(processes)} starts of {id_}")
    if steps.memory is not None:
        keys = [(run.model, run.batch) for run in steps.memory]
        possible = {(model.id, batch) for model in timed for batch in outer_batches(model, settings)}
        wrong.require(len(set(keys)) == len(keys), "measures memory twice")
        wrong.require(set(keys) <= possible, "measures memory of other models or batches than its bundle")
        for run in steps.memory:
            wrong.require(bool(run.results) != bool(run.failed), f"has no memory of {run.model}, and no reason")
            wrong.require(len(run.results) <= plan.memory_processes, f"has {len(run.results)} processes of {run.model}")


def _sessions(
    members: Mapping[str, bytes],
    sessions: Sequence[StoredSession],
    timed: Sequence[BundledModel],
    settings: Settings,
    wrong: ResultChecker,
) -> dict[int, bytes]:
    """Return the samples of each session, after checking them."""
    numbers = [kept.number for kept in sessions]
    wrong.require(numbers == list(range(len(numbers))), "has sessions twice, or not all of them")
    wrong.require(all(kept.session.number == kept.number for kept in sessions), "has sessions with two numbers")
    files = {name: content for name, content in members.items() if name.startswith("sessions/")}
    expected = {f"sessions/{kept.number}.npz" for kept in sessions if kept.session.result is not None}
    wrong.require(files.keys() == expected, "has sessions without samples, or samples without sessions")
    cells = {c.number: c for c in configurations(timed, settings)}
    positions = {model.id: number for number, model in enumerate(timed)}
    contents = {}
    for kept in sessions:
        if (result := kept.session.result) is None:
            continue
        listed = [configuration.number for configuration in result.configurations]
        wrong.require(len(set(listed)) == len(listed), f"has a configuration twice in session {kept.number}")
        wrong.require(set(listed) <= cells.keys(), f"has an unknown configuration in session {kept.number}")
        calls = {
            f"{configuration.number}/{positions[id_]}"
            for configuration in result.configurations
            for id_ in configuration.call_ns
            if id_ in positions and positions[id_] in cells[configuration.number].models
        }
        measured = sum(len(configuration.call_ns) for configuration in result.configurations)
        same = all(c.call_ns.keys() == c.warm_up_calls.keys() for c in result.configurations)
        wrong.require(len(calls) == measured and same, f"times other models than its bundle in session {kept.number}")
        content = files[f"sessions/{kept.number}.npz"]
        check_samples(content, calls, kept.number, wrong)
        contents[kept.number] = content
    return contents


def _check_sustained(
    content: ResultContent, settings: Settings, timed: Sequence[BundledModel], wrong: ResultChecker
) -> None:
    """Check that blocks of sustained calls are of the timed models, in turns, in the order of time."""
    step, blocks = content.steps.sustained, content.blocks
    if step is None:
        wrong.require(not blocks, "has sustained calls that it does not describe")
        return
    wrong.require(step.ids == tuple(model.id for model in timed), "sustains other models than it times")
    wrong.require(step.threads == max(settings.threads), "sustains calls with other threads")
    times = [block[0] for block in blocks]
    wrong.require(times == sorted(times) and len(set(times)) == len(times), "has sustained calls that go back in time")
    turns = [number % max(len(timed), 1) for number in range(len(blocks))]
    wrong.require([block[1] for block in blocks] == turns, "has sustained calls out of turn")
    wrong.require(all(block[3] <= block[5] and block[4] <= block[5] for block in blocks), "has impossible call times")


def _check_energy(
    content: ResultContent, settings: Settings, timed: Sequence[BundledModel], wrong: ResultChecker
) -> None:
    energy = content.steps.energy
    if energy is None or isinstance(energy, Unmetered) or not isinstance(result := energy.result, Windows):
        return
    wrong.require(settings.energy != "off", "has energies that its bundle did not request")
    count, rounds = len(result.sources), MODES[settings.energy].rounds
    named = [meter.name for meter in energy.sources]
    wrong.require(0 < count == len(set(result.sources)) and set(result.sources) <= set(named), "has unknown meters")
    wrong.require(result.sources[0] == named[0] and len(result.period_ns) == count, "has unknown meters")
    runs = [run for run in runs_of(timed, settings) if run[0] not in energy.failed]
    wrong.require(len(result.windows) == len(runs), "has energies of other models than its bundle")
    wrong.require(len(result.idle) == rounds + 1, "has too few idle windows")
    check: Callable[[int], bool] = lambda windows: windows in {0, rounds}  # noqa: E731 - none where the model failed
    wrong.require(all(check(len(run_windows)) for run_windows in result.windows), "has too few windows")
    every = [*result.idle, *(window for run_windows in result.windows for window in run_windows)]
    wrong.require(all(len(window.spans) == count for window in every), "has windows without a meter")
