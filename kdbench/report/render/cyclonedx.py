"""A bill of materials in CycloneDX's JSON: every model with its hash, its numbers and the models it came from."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from kdbench import extras
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.report import FORMATS, Content
from kdbench.report.cells import portable
from kdbench.report.model_groups import dataset
from kdbench.results.cards import ModelCard
from kdbench.results.records import RunRecord

_FILE = "bom.cdx.json"
_RUN, _DATA = "kdbench/run", "kdbench/data"  # no model's id has a slash
_SHA256 = re.compile("[0-9a-f]{64}")


@FORMATS.register("cyclonedx")
def write(content: Content, folder: Path) -> list[Path]:
    """Write a bill of materials of all models, `bom.cdx.json`; raises InputError without cyclonedx-python-lib."""
    path = folder / _FILE
    storage.write_text(path, bom(content))
    return [path]


def bom(content: Content) -> str:
    """Return the bill: CycloneDX 1.6 as JSON, by the format's own library.

    Its subject is the best model that a stored verdict calls READY, or else the run. Measured values are properties
    called `kdbench:METRIC`, or `kdbench:METRIC:AXIS=VALUE`, in the metric's unit. A model depends on its source and on
    the models it learned from.
    """
    extras.require("bom", "the format cyclonedx")
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    record = content.host
    library = record.environment.libraries.get("kdbench")

    def component(card: ModelCard) -> Any:
        return Component(
            name=card.name,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=card.id,
            version=card.sha256[:12],
            description=_description(card),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=card.sha256)] if _SHA256.fullmatch(card.sha256) else (),
            properties=[Property(name=name, value=value) for name, value in _properties(record, card)],
        )

    components = {card.id: component(card) for card in record.models}
    # The same record gives the same bill.
    result = Bom(serial_number=uuid5(NAMESPACE_OID, record.hash()))
    try:
        result.metadata.timestamp = datetime.fromisoformat(record.created)
    except ValueError:
        raise InputError(f"the record's time {record.created!r} is not valid", RunRecord.hint) from None
    best = next((verdict.best for verdict in content.verdicts if verdict.best in components), None)
    subject = components[best] if best else Component(name=record.name, type=ComponentType.DATA, bom_ref=_RUN)
    result.metadata.component = subject
    result.metadata.tools.components.add(Component(name="kdbench", type=ComponentType.APPLICATION, version=library))
    others = [item for item in components.values() if item is not subject]
    data = dataset(record)
    if data is not None:
        others.append(Component(name=portable(data), type=ComponentType.DATA, bom_ref=_DATA, version=_test_set(record)))
    for item in others:
        result.components.add(item)
    for card in record.models:
        result.register_dependency(
            components[card.id], [components[id_] for id_ in _origins(card) if id_ in components]
        )
    if best is None:
        result.register_dependency(subject, [*components.values()])
    return make_outputter(result, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def _description(card: ModelCard) -> str:
    if card.variant is not None:
        return f"{card.variant.of} compressed by {card.variant.method}"
    objective = f", trained with {card.training.objective}" if card.training is not None else ""
    return f"{card.role}: {card.architecture or 'a network from elsewhere'}{objective}"


def _origins(card: ModelCard) -> list[str]:
    """Return the ids of what a model was made of and learned from."""
    made_of = [card.variant.of] if card.variant is not None else [card.pruned.of] if card.pruned is not None else []
    return list(dict.fromkeys([*made_of, *card.teachers]))


def _properties(record: RunRecord, card: ModelCard) -> Iterator[tuple[str, str]]:
    yield "kdbench:opset", str(card.opset)
    for measurement in record.measurement_index.for_model(card.id):
        if measurement.value is not None and "class" not in measurement.axes:
            at = "".join(f":{axis}={value}" for axis, value in measurement.axes.items())
            interval = measurement.interval
            bounds = f" [{interval.low!r}, {interval.high!r}]" if interval is not None else ""
            estimated = " (estimated)" if measurement.evidence == "estimated" else ""
            yield f"kdbench:{measurement.metric}{at}", f"{measurement.value!r}{bounds} {measurement.unit}{estimated}"


def _test_set(record: RunRecord) -> str | None:
    hash_ = record.protocol.get("test_set_sha256")
    return str(hash_)[:12] if hash_ else None
