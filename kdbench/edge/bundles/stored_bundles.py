"""The bundles that a run has made: what `merge` needs of them, kept in the run's folder.

RUN/bundles/ID.json is the manifest, RUN/bundles/ID.npz the host's outputs by model number, and the labels;
RUN/bundles/ID.toml the target.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.edge.bundles.bundle import TARGET, Bundle
from kdbench.edge.exchange.archive import sha256
from kdbench.edge.exchange.plan import MANIFEST, Plan, plan_of
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import read_samples, write_samples

_LABELS = "labels"


@dataclass(frozen=True)
class KnownBundle:
    """A bundle that the run has made: its plan, the host's outputs by model, the samples' labels, the target's file."""

    plan: Plan
    outputs: dict[str, NDArray[np.generic]]
    labels: NDArray[Any] | None
    target: Path


def keep_bundle(bundle: Bundle, folder: RunFolder) -> None:
    """Keep what merging needs of a bundle in the run's folder."""
    storage.make_folder(folder.bundles)
    manifest = bundle.members[MANIFEST]
    arrays = {str(number): bundle.outputs[model.id] for number, model in enumerate(bundle.plan.models)}
    labels = {} if bundle.labels is None else {_LABELS: bundle.labels}
    write_samples(_arrays(folder, bundle.id), {**arrays, **labels})
    for name, member in ((f"{bundle.id}.toml", bundle.members[TARGET]), (f"{bundle.id}.json", manifest)):
        assert isinstance(member, bytes)
        with storage.writing(folder.bundles / name) as stream:
            stream.write(member)


def known_bundle(id_: str, folder: RunFolder) -> KnownBundle:
    """Return the bundle of that id; raises InputError for one that this run has not made, or that was changed."""
    file = _manifest(folder, id_)
    if not file.is_file():
        hint = "merge it into the run from which the bundle was made; that run's folder keeps its bundles"
        raise InputError(f"{folder.path} has not made the bundle {id_[:12]}…", hint)
    if sha256(file) != id_:
        raise InputError(f"{file} was changed", "make the bundle again, and measure it")
    plan = plan_of(file.read_text(encoding="utf-8"), str(file))
    arrays = read_samples(_arrays(folder, id_))
    outputs = {model.id: arrays[str(number)] for number, model in enumerate(plan.models)}
    return KnownBundle(plan, outputs, arrays.get(_LABELS), folder.bundles / f"{id_}.toml")


def _manifest(folder: RunFolder, id_: str) -> Path:
    return folder.bundles / f"{id_}.json"


def _arrays(folder: RunFolder, id_: str) -> Path:
    return folder.bundles / f"{id_}.npz"
