"""Facts about the machine and the software that a number was measured with.

A fingerprint holds neither user nor host name nor paths: records are published.
"""

import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from kdbench import __version__
from kdbench.machine.cores import available_cores
from kdbench.machine.nvidia import query
from kdbench.machine.system_files import ROOT, fields, first_line, number, quota_cores
from kdbench.results.records import Environment

_LOAD_WINDOW_S = 0.2  # how long to watch what else the machine is doing
LIBRARIES = (
    *("torch", "torchvision", "lightning-fabric", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu"),
    *("nvidia-ml-py", "codecarbon", "fvcore", "numpy", "scipy", "scikit-learn", "safetensors"),
)

Fact = str | int | float | None


def fingerprint(root: Path = ROOT) -> Environment:
    """Return the facts about this machine and its software; unknown facts are None."""
    commit, dirty = _working_copy(Path(__file__).resolve().parents[2])
    return Environment(host=_host(root), libraries=libraries(), git_commit=commit, git_dirty=dirty)


def libraries() -> dict[str, str]:
    """Return the versions of kdbench and the installed libraries that numbers depend on, without importing them."""
    versions = {"kdbench": __version__}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _host(root: Path) -> dict[str, Fact]:
    import psutil

    return {
        "board": first_line(root / "proc/device-tree/model"),  # None on a PC, where the processor says enough
        "cpu": processor(root),
        "machine": platform.machine(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "cores_usable": len(available_cores()),
        "cpu_quota_cores": quota_cores(root),
        "memory_bytes": psutil.virtual_memory().total,
        "os": _operating_system(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "governor": first_line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(root),
        "clock_limit_share": _clock_limit_share(root),
        "smt": {"1": "on", "0": "off"}.get(first_line(root / "sys/devices/system/cpu/smt/active") or ""),
        "virtualization": virtualization(root),
        "container": _container(root),
        # Not the load average: that still holds the training this very process has just done.
        "cores_busy": round(psutil.cpu_percent(interval=_LOAD_WINDOW_S) / 100 * (psutil.cpu_count() or 1), 2),
        **_gpu(),
    }


def processor(root: Path = ROOT) -> str | None:
    """Return the processor's name: from cpuinfo on x86, from the device tree on boards, from sysctl on a Mac."""
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    cpuinfo = fields(root / "proc/cpuinfo", ":")
    return cpuinfo.get("model name") or first_line(root / "proc/device-tree/model") or platform.processor() or None


def _turbo(root: Path) -> str | None:
    """Return whether the clock may exceed its base: `on`, `off`, or None if unknown."""
    processors = root / "sys/devices/system/cpu"
    if (disabled := first_line(processors / "intel_pstate/no_turbo")) in {"0", "1"}:
        return "on" if disabled == "0" else "off"
    return {"1": "on", "0": "off"}.get(first_line(processors / "cpufreq/boost") or "")


def _clock_limit_share(root: Path) -> float | None:
    """Return the clock's limit over the processor's highest clock, of the most limited core."""
    folders = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    clocks = ((number(folder / "scaling_max_freq"), number(folder / "cpuinfo_max_freq")) for folder in folders)
    return min((limit / highest for limit, highest in clocks if limit and highest), default=None)


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform(terse=True)


def virtualization(root: Path = ROOT) -> str | None:
    """Return the hypervisor that this machine is a guest of, or None on bare metal."""
    if "hypervisor" not in fields(root / "proc/cpuinfo", ":").get("flags", "").split():
        return None
    return first_line(root / "sys/class/dmi/id/sys_vendor") or first_line(root / "sys/hypervisor/type") or "yes"


def _container(root: Path) -> str | None:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def _gpu() -> dict[str, Fact]:
    """Return the NVIDIA GPUs, their driver and its CUDA version, if a driver answers."""

    def facts(pynvml: Any) -> dict[str, Fact]:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()  # 13020 is 13.2: the newest that the driver runs
        return {
            "gpu": ", ".join(pynvml.nvmlDeviceGetName(handle) for handle in handles) or None,
            "gpu_driver": pynvml.nvmlSystemGetDriverVersion(),
            "gpu_cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        }

    return query(facts) or {"gpu": None}


def _working_copy(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the working copy that kdbench runs from and whether it is modified; None if installed."""
    if not (folder / ".git").exists():
        return None, None
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return commit or None, None if changes is None else bool(changes)


def _output(command: list[str]) -> str | None:
    """Return what a command prints, or None if it cannot be run or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
