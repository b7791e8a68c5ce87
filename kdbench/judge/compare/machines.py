"""How two records differ besides the models: the machine, the software."""

from collections.abc import Mapping

from kdbench.results.records import Axes, RunRecord

# The facts of a host that its times depend on. A machine with another kernel, Python or total memory is the same one.
_CORES = ("cores_physical", "cores_logical", "cores_usable", "cpu_quota_cores")
_STATE = ("virtualization", "container", "governor", "turbo", "clock_limit_share", "smt")
_MACHINE = ("cpu", "machine", *_CORES, "gpu", *_STATE)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_OTHER_LIBRARIES = ("kdbench", "numpy", "torch")
_DRIVER = ("gpu_driver", "gpu_cuda")
_OTHER_FACTS = ("os", "kernel", "python")


def other_machine(base: RunRecord, new: RunRecord) -> str:
    """Return how the machines of two records differ, in words; empty where they do not.

    A record that does not name its processor could be of any machine.
    """
    before, after = base.environment.host, new.environment.host
    if before.get("cpu") is None or after.get("cpu") is None:
        return "the processor is not known"
    return "; ".join(_differing(before, after, _MACHINE))


def other_runtime(base: RunRecord, new: RunRecord, axes: Axes) -> str:
    """Return which runtime or driver differs, in words: they may change the times at `axes`."""
    libraries = (*RUNTIMES, *(("torch",) if str(axes.get("runtime", "")).startswith("torch") else ()))
    differences = _differing(base.environment.libraries, new.environment.libraries, libraries)
    if axes.get("provider") == "cuda":
        differences += _differing(base.environment.host, new.environment.host, _DRIVER)
    return "; ".join(differences)


def other_software(base: RunRecord, new: RunRecord) -> str:
    """Return which software that a number may depend on differs, in words; empty where none does."""
    differences = [
        *_differing(base.environment.libraries, new.environment.libraries, (*RUNTIMES, *_OTHER_LIBRARIES)),
        *_differing(base.environment.host, new.environment.host, (*_DRIVER, *_OTHER_FACTS)),
    ]
    return "; ".join(differences)


def _differing(base: Mapping[str, object], new: Mapping[str, object], keys: tuple[str, ...]) -> list[str]:
    changes = {key: (base.get(key), new.get(key)) for key in keys if base.get(key) != new.get(key)}
    texts = {key: ["unknown" if value is None else str(value) for value in values] for key, values in changes.items()}
    return [f"{key.replace('_', ' ')} {' → '.join(values)}" for key, values in texts.items()]
