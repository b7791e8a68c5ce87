"""The device of a target, and whether a record was measured on it.

Times and energies measured on another machine do not apply to the device.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictFloat

from kdbench import units
from kdbench.results.records import RunRecord
from kdbench.results.runtimes import USUAL_RUNTIME
from kdbench.user_input.validation import Value, WrongValueError


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise WrongValueError(f"{text!r} is not a regular expression: {error}", "a plain word is one") from None
    return text


def _bytes(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WrongValueError(f"{value!r} is not a size", 'for example "4 GB"')
    try:
        return units.parse(value, "bytes") if isinstance(value, str) else value
    except ValueError as error:
        raise WrongValueError(str(error), 'for example "4 GB"') from None


Expression = Annotated[str, AfterValidator(_expression)]
Minimum = Annotated[StrictFloat, Field(gt=0)]


class Device(Value):
    """The `[device]` of a target: conditions that the machine's facts must all meet.

    A text is a part of the fact, such as `Intel(R) Xeon(R)`, or a regular expression that matches a part; upper and
    lower case are equal. A number is the minimum. `libraries` are versions of installed libraries. `provider` and
    `runtime` are those that must have run the models.
    """

    board: Expression | None = None
    cpu: Expression | None = None
    gpu: Expression | None = None
    machine: Expression | None = None
    os: Expression | None = None
    kernel: Expression | None = None
    python: Expression | None = None
    cores_physical: Minimum | None = None
    cores_usable: Minimum | None = None
    memory_bytes: Annotated[float, BeforeValidator(_bytes), Field(gt=0)] | None = None
    libraries: dict[str, Expression] = Field(default_factory=dict)
    provider: str | None = None
    runtime: str | None = None


def differences(record: RunRecord, device: Device) -> list[str]:
    """Return a clause for each condition of the device that the record's machine does not meet."""
    options = [
        f"{name} is {' and '.join(sorted(used)) or 'unknown'}, not {required}"
        for name, required, used in _other_options(record, device)
    ]
    return [*_other_facts(record, device), *options]


def remedy(record: RunRecord, device: Device, description: str) -> str:
    """Return how to measure under the conditions of the device, whose name is `description`.

    If only the provider or the runtime differs, the same machine can measure again.
    """
    options = [f"--{name}={required}" for name, required, _ in _other_options(record, device)]
    place = [f"on {description}"] if _other_facts(record, device) or not options else []
    return " ".join(["measure", *place, *(["with", *options] if options else [])])


def _other_facts(record: RunRecord, device: Device) -> list[str]:
    host, libraries = record.environment.host, record.environment.libraries
    facts: dict[str, Any] = device.model_dump(exclude={"libraries", "provider", "runtime"}, exclude_none=True)
    clauses = [
        *(_difference(fact.replace("_", " "), host.get(fact), value) for fact, value in facts.items()),
        *(_difference(library, libraries.get(library), version) for library, version in device.libraries.items()),
    ]
    return [clause for clause in clauses if clause]


def _other_options(record: RunRecord, device: Device) -> list[tuple[str, str, set[str]]]:
    """Return the options whose required value was not used: name, required value, values used instead."""
    options = (("provider", device.provider, _providers(record)), ("runtime", device.runtime, _runtimes(record)))
    return [(name, required, used) for name, required, used in options if required is not None and required not in used]


def _difference(name: str, fact: str | float | None, required: str | float) -> str:
    """Say how a fact fails its condition; empty where it meets it."""
    if fact is None:
        return f"the record names no {name}"
    if isinstance(required, str):
        is_met = required.casefold() in str(fact).casefold() or re.search(required, str(fact), re.IGNORECASE)
        return "" if is_met else f"{name} is '{fact}', not '{required}'"
    if isinstance(fact, int | float) and fact >= required:
        return ""
    write = units.size if name.endswith(" bytes") else units.integer
    return f"{name} is {write(fact) if isinstance(fact, int | float) else fact}, not {write(required)} or more"


def _providers(record: RunRecord) -> set[str]:
    used = {str(m.axes["provider"]) for m in record.measurements if "provider" in m.axes}
    return used or ({str(record.protocol["provider"])} if record.protocol.get("provider") else set())


def _runtimes(record: RunRecord) -> set[str]:
    names = record.protocol.get("runtime", USUAL_RUNTIME)
    return set(map(str, names)) if isinstance(names, list | tuple) else {str(names)}


def machine_name(record: RunRecord) -> str:
    """Return the shortest name of the machine: its board, or its processor."""
    host = record.environment.host
    return str(host.get("board") or host.get("cpu") or host.get("machine") or "an unknown machine")


def machine_description(record: RunRecord) -> str:
    """Return the machine's name, usable cores, GPU and whether it is virtual."""
    host = record.environment.host
    parts = [machine_name(record)]
    parts += [f"{host['cores_usable']} cores"] if host.get("cores_usable") else []
    parts += [str(host["gpu"])] if host.get("gpu") else []
    parts += ["a virtual machine"] if host.get("virtualization") else []
    return ", ".join(parts)
