"""The time of every call: as a session's process leaves it, sessions put together, and as a run keeps it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kdbench.statistics import Clustered


def of_session(arrays: Mapping[str, NDArray[np.generic]], key: str, session: int) -> Clustered | None:
    """Return what the latency probe left under `key`, as samples of session number `session`; None if nothing."""
    if f"{key}/ns" not in arrays:
        return None
    ns, block = arrays[f"{key}/ns"].astype(np.float64), arrays[f"{key}/block"].astype(np.int64)
    return Clustered(ns, np.full(len(ns), session), block)


def joined(parts: Sequence[Clustered]) -> Clustered:
    """Return the samples of several sessions as one."""
    return Clustered(
        values=np.concatenate([part.values for part in parts]),
        session=np.concatenate([part.session for part in parts]),
        block=np.concatenate([part.block for part in parts]),
    )


def kept(by_key: Mapping[str, Clustered]) -> dict[str, NDArray[np.generic]]:
    """Return samples as `Findings.samples` holds them: three arrays of each key."""
    raw: dict[str, NDArray[np.generic]] = {}
    for key, data in by_key.items():
        raw[f"{key}/ns"] = data.values.astype(np.int64)
        raw[f"{key}/session"] = data.session.astype(np.int32)
        raw[f"{key}/block"] = data.block.astype(np.int32)
    return raw
