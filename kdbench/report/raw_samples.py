"""The time of every call as a run keeps it in `samples.npz`: found by the axes that the record tells."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdbench.records import Axes
from kdbench.report.subjects import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples = Mapping[str, "NDArray[Any]"]

_MODES = {"paced": "-paced{gap_ms}ms", "server": "-server{rate_per_s}"}


def configuration_key(axes: Axes) -> str:
    """Return what names the configuration at `axes` among the samples: `cpu-t1-b128`, `cpu-t1-b1-paced10ms`."""
    mode = _MODES.get(str(axes.get("mode", "")), "").format_map(axes)
    runtime = f"-{axes['runtime']}" if "runtime" in axes else ""
    return f"{axes.get('provider')}-t{axes.get('threads')}-b{axes.get('batch')}{mode}{runtime}"


def call_times_ns(samples: Samples, subject: Subject, axes: Axes) -> "NDArray[Any] | None":
    """Return the time of every call of a subject at `axes`, in nanoseconds (int64, 1-D); None if none were kept."""
    keys = (f"{id_}/{configuration_key(axes)}/ns" for id_ in subject.ids)
    found = next((samples[key] for key in keys if key in samples), None)
    return found if found is not None and len(found) else None
