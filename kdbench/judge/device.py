"""Whether the machine that a record was taken on is the one that a target is about.

A number taken elsewhere certifies nothing: what another machine takes in time or energy, nobody knows before it has
run there.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictFloat

from kdbench import units
from kdbench.results.records import RunRecord
from kdbench.validation import Value, WrongValueError

USUAL_RUNTIME = "onnxruntime"


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise WrongValueError(f"{text!r} is no regular expression: {error}", "a plain word is one") from None
    return text


def _bytes(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WrongValueError(f"{value!r} is no size", 'for example "4 GB"')
    try:
        return units.parse(value, "bytes") if isinstance(value, str) else value
    except ValueError as error:
        raise WrongValueError(str(error), 'for example "4 GB"') from None


Expression = Annotated[str, AfterValidator(_expression)]
Minimum = Annotated[StrictFloat, Field(gt=0)]


class Device(Value):
    """The `[device]` of a target: what the machine's facts must be, all of those that are given.

    Texts are regular expressions that are found in the fact, whatever its case; numbers are the least it may be.
    `libraries` are the versions of installed ones. `provider` and `runtime` are what the models must have run with.
    """

    board: Expression | None = None
    cpu: Expression | None = None
    gpu: Expression | None = None
    machine: Expression | None = None
    os: Expression | None = None
    kernel: Expression | None = None
    cores_physical: Minimum | None = None
    cores_usable: Minimum | None = None
    memory_bytes: Annotated[float, BeforeValidator(_bytes), Field(gt=0)] | None = None
    libraries: dict[str, Expression] = Field(default_factory=dict)
    provider: str | None = None
    runtime: str | None = None

    @property
    def named(self) -> bool:
        """Whether anything is asked of the machine at all."""
        return self != Device()


def differences(record: RunRecord, device: Device) -> list[str]:
    """Return what about the record's machine is not as the device asks, each as a clause; empty where all is."""
    return [*_of_facts(record, device), *_of_runs(record, device)]


def _of_facts(record: RunRecord, device: Device) -> Iterator[str]:
    host, libraries = record.environment.host, record.environment.libraries
    wanted: dict[str, Any] = device.model_dump(exclude={"libraries", "provider", "runtime"}, exclude_none=True)
    for fact, value in wanted.items():
        yield from _differs(fact.replace("_", " "), host.get(fact), value, in_bytes=fact.endswith("_bytes"))
    for library, version in device.libraries.items():
        yield from _differs(library, libraries.get(library), version)


def _differs(name: str, found: str | float | None, wanted: str | float, *, in_bytes: bool = False) -> Iterator[str]:
    if found is None:
        yield f"the record names no {name}"
    elif isinstance(wanted, str):
        if not re.search(wanted, str(found), re.IGNORECASE):
            yield f"{name} is '{found}', not '{wanted}'"
    elif not isinstance(found, int | float) or found < wanted:
        write = units.size if in_bytes else units.whole
        yield f"{name} is {write(found) if isinstance(found, int | float) else found}, not {write(wanted)} or more"


def _of_runs(record: RunRecord, device: Device) -> Iterator[str]:
    for what, wanted, ran in (
        ("provider", device.provider, providers(record)),
        ("runtime", device.runtime, runtimes(record)),
    ):
        if wanted is not None and wanted not in ran:
            yield f"{what} is {' and '.join(sorted(ran)) or 'unknown'}, not {wanted}"


def providers(record: RunRecord) -> set[str]:
    """Return what ran the record's models, such as cpu."""
    named = {str(m.axes["provider"]) for m in record.measurements if "provider" in m.axes}
    return named or ({str(record.protocol["provider"])} if record.protocol.get("provider") else set())


def runtimes(record: RunRecord) -> set[str]:
    """Return the runtimes that the record's models ran in; where none is named it is the usual one."""
    asked = record.protocol.get("runtime", USUAL_RUNTIME)
    return set(map(str, asked)) if isinstance(asked, list | tuple) else {str(asked)}


def machine_name(record: RunRecord) -> str:
    """Return the shortest name of the machine: its board, or its processor."""
    host = record.environment.host
    return str(host.get("board") or host.get("cpu") or host.get("machine") or "an unknown machine")


def machine_in_words(record: RunRecord) -> str:
    """Return the machine's name, and what else tells it apart."""
    host = record.environment.host
    parts = [machine_name(record)]
    parts += [f"{host['cores_usable']} cores"] if host.get("cores_usable") else []
    parts += [str(host["gpu"])] if host.get("gpu") else []
    parts += ["a virtual machine"] if host.get("virtualization") else []
    return ", ".join(parts)
