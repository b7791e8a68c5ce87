"""The machine and the software a number was taken with, and what about them makes numbers shaky.

A fingerprint holds neither user nor host name nor paths: records are published.
"""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from kdbench import __version__
from kdbench.records import Environment, Warned

_LOOK_S = 0.2  # how long to watch what else the machine is doing
_BUSY_CORES = 0.5
LIBRARIES = (
    "torch",
    "torchvision",
    "lightning",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "fvcore",
    "numpy",
    "scipy",
    "scikit-learn",
    "safetensors",
    "nvidia-ml-py",
)

Fact = str | int | float | None


def fingerprint(root: Path = Path("/")) -> Environment:
    """Return what this machine and its software are; facts that cannot be found out are None.

    `root` stands before /proc and /sys, for tests.
    """
    commit, dirty = _working_copy(Path(__file__).resolve().parent.parent)
    return Environment(host=_host(root), libraries=libraries(), git_commit=commit, git_dirty=dirty)


def libraries() -> dict[str, str]:
    """Return the versions of kdbench and the installed libraries that numbers depend on, none of them imported."""
    found = {"kdbench": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def stability(environment: Environment) -> tuple[Warned, ...]:
    """Return what about the machine makes latencies shaky, each with its remedy."""
    host = environment.host
    findings = (_load(host), _governor(host), _quota(host), _virtual(host))
    return tuple(warned for warned in findings if warned is not None)


def _load(host: dict[str, Fact]) -> Warned | None:
    busy, cores = host.get("cores_busy"), host.get("cores_logical")
    if not isinstance(busy, float) or busy < _BUSY_CORES:
        return None
    return Warned(
        code="load",
        message=f"other work kept {busy:.1f} of {cores} cores busy just before measuring",
        remedy="measure when the machine is otherwise idle",
    )


def _governor(host: dict[str, Fact]) -> Warned | None:
    governor = host.get("governor")
    if governor == "performance":
        return None
    if governor is None and host.get("virtualization") is not None:
        return None  # a guest never sees the governor; _virtual says what there is to say
    if governor is None:
        return Warned(
            code="governor_unknown",
            message="the CPU frequency governor cannot be read here, so the clock may have varied",
            remedy="trust ratios of interleaved models more than single latencies; repeat on bare metal",
        )
    return Warned(
        code="governor",
        message=f"the CPU frequency governor is {governor!r}: the clock varies with the load",
        remedy="sudo cpupower frequency-set --governor performance",
    )


def _quota(host: dict[str, Fact]) -> Warned | None:
    quota, cores = host.get("cpu_quota_cores"), host.get("cores_usable")
    if not isinstance(quota, float) or not isinstance(cores, int) or quota >= cores:
        return None
    return Warned(
        code="cpu_quota",
        message=f"the container may use {quota:g} of the {cores} cores it sees: threads beyond that are throttled",
        remedy="raise the container's CPU limit, or measure with fewer threads",
    )


def _virtual(host: dict[str, Fact]) -> Warned | None:
    if host.get("virtualization") is None:
        return None
    return Warned(
        code="virtual_machine",
        message="this is a virtual machine: its neighbours' work shows in the latencies",
        remedy="measure on the target device before relying on an absolute latency",
    )


def _host(root: Path) -> dict[str, Fact]:
    import psutil

    return {
        "cpu": _cpu(root),
        "machine": platform.machine(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
        "cpu_quota_cores": _quota_cores(root),
        "memory_bytes": psutil.virtual_memory().total,
        "os": _operating_system(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "governor": _first(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "virtualization": _virtualization(root),
        "container": _container(root),
        # Not the load average: that still holds the training this very process has just done.
        "cores_busy": round(psutil.cpu_percent(interval=_LOOK_S) / 100 * (psutil.cpu_count() or 1), 2),
        **_gpu(),
    }


def _first(path: Path) -> str | None:
    """Return the first line of a small file of the system's, or None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ").partition("\n")[0] or None
    except OSError:
        return None


def _cpuinfo(root: Path, key: str) -> str | None:
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)


def _cpu(root: Path) -> str | None:
    """Return the processor's name: x86 says it in cpuinfo, boards in the device tree, a Mac to sysctl."""
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return _cpuinfo(root, "model name") or _first(root / "proc/device-tree/model") or platform.processor() or None


def _quota_cores(root: Path) -> float | None:
    """Return how many cores a control group lets this process use, or None without a limit."""
    quota, _, period = (_first(root / "sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform(terse=True)


def _virtualization(root: Path) -> str | None:
    if "hypervisor" not in (_cpuinfo(root, "flags") or "").split():
        return None
    return _first(root / "sys/class/dmi/id/sys_vendor") or _first(root / "sys/hypervisor/type") or "yes"


def _container(root: Path) -> str | None:
    marks = {".dockerenv": "docker", "run/.containerenv": "podman"}
    if found := next((name for mark, name in marks.items() if (root / mark).exists()), None):
        return found
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def _gpu() -> dict[str, Fact]:
    """Return the NVIDIA GPUs and their driver, if a driver answers."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {"gpu": None}
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        return {"gpu": ", ".join(names) or None, "gpu_driver": pynvml.nvmlSystemGetDriverVersion()}
    except pynvml.NVMLError:
        return {"gpu": None}
    finally:
        pynvml.nvmlShutdown()


def _working_copy(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the working copy that kdbench runs from and whether it was changed; None if installed."""
    if not (folder / ".git").exists():
        return None, None
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return commit or None, None if changes is None else bool(changes)


def _output(command: list[str]) -> str | None:
    """Return what a command prints, or None if it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
