"""The machine and the software a number was taken with, and what about them makes numbers shaky.

A fingerprint holds neither user nor host name nor paths: records are published.
"""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path, PurePosixPath

from kdbench import __version__
from kdbench.results.records import Diagnostic, Environment

_LOOK_S = 0.2  # how long to watch what else the machine is doing
BUSY_CORES = 0.5  # of other work, from which on latencies are not to be trusted
LIBRARIES = (
    "torch",
    "torchvision",
    "lightning",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "nvidia-ml-py",
    "codecarbon",
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
    commit, dirty = _working_copy(Path(__file__).resolve().parents[2])
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


def stability(environment: Environment) -> tuple[Diagnostic, ...]:
    """Return what about the machine makes latencies shaky, each with its remedy."""
    host = environment.host
    findings = (_load(host), _governor(host), _clock_limit(host), _virtual(host))
    return tuple(warned for warned in findings if warned is not None)


def _load(host: dict[str, Fact]) -> Diagnostic | None:
    busy, cores = host.get("cores_busy"), host.get("cores_logical")
    if not isinstance(busy, float) or busy < BUSY_CORES:
        return None
    return Diagnostic(
        code="load",
        message=f"other work kept {busy:.1f} of {cores} cores busy just before measuring",
        remedy="measure when the machine is otherwise idle",
    )


def _governor(host: dict[str, Fact]) -> Diagnostic | None:
    governor = host.get("governor")
    if governor == "performance":
        return None
    if governor is None and host.get("virtualization") is not None:
        return None  # a guest never sees the governor; _virtual says what there is to say
    if governor is None:
        return Diagnostic(
            code="governor_unknown",
            message="the CPU frequency governor cannot be read here, so the clock may have varied",
            remedy="trust ratios of interleaved models more than single latencies; repeat on bare metal",
        )
    return Diagnostic(
        code="governor",
        message=f"the CPU frequency governor is {governor!r}: the clock varies with the load",
        remedy="sudo cpupower frequency-set --governor performance",
    )


def _clock_limit(host: dict[str, Fact]) -> Diagnostic | None:
    share = host.get("clock_limit_share")
    if not isinstance(share, float) or share >= 1:
        return None
    return Diagnostic(
        code="clock_limit",
        message=f"the clock is held at {100 * share:.0f} % of the processor's highest, or below",
        remedy="steady clocks are good for comparing; for the device's full speed: sudo cpupower frequency-set --max",
    )


def _virtual(host: dict[str, Fact]) -> Diagnostic | None:
    if host.get("virtualization") is None:
        return None
    return Diagnostic(
        code="virtual_machine",
        message="this is a virtual machine: its neighbours' work shows in the latencies",
        remedy="measure on the target device before relying on an absolute latency",
    )


def _host(root: Path) -> dict[str, Fact]:
    import psutil

    return {
        "board": first_line(root / "proc/device-tree/model"),  # of a PC the processor says enough
        "cpu": _cpu(root),
        "machine": platform.machine(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
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
        "cores_busy": round(psutil.cpu_percent(interval=_LOOK_S) / 100 * (psutil.cpu_count() or 1), 2),
        **_gpu(),
    }


def first_line(path: Path) -> str | None:
    """Return the first line of a small file of the system's, or None where there is none."""
    return _text(path).strip("\0\n ").partition("\n")[0] or None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpuinfo(root: Path, key: str) -> str | None:
    lines = _text(root / "proc/cpuinfo").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)


def _cpu(root: Path) -> str | None:
    """Return the processor's name: x86 says it in cpuinfo, boards in the device tree, a Mac to sysctl."""
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return _cpuinfo(root, "model name") or first_line(root / "proc/device-tree/model") or platform.processor() or None


def control_groups(root: Path) -> list[Path]:
    """Return the folders of the control groups that hold this process's CPU time, those around it last.

    Inside a container its own group is the root of what can be seen; `root` stands before /proc and /sys.
    """
    mount = root / "sys/fs/cgroup"
    folders = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        tree = mount / "cpu" if controllers else mount  # version 1 keeps a tree for each controller
        folders += [tree / part.relative_to("/") for part in (PurePosixPath(path), *PurePosixPath(path).parents)]
    return [folder for folder in dict.fromkeys([*folders, mount]) if folder.is_dir()]


def quota_cores(root: Path) -> float | None:
    """Return how many cores the control groups let this process use, or None without a limit."""
    quotas = []
    for folder in control_groups(root):
        quota, _, period = (first_line(folder / "cpu.max") or "max").partition(" ")
        if quota == "max":
            quota, period = (first_line(folder / f"cpu.cfs_{name}_us") or "-1" for name in ("quota", "period"))
        if int(quota) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _turbo(root: Path) -> str | None:
    """Return whether the clock may exceed its base: `on`, `off`, or None where the system does not tell."""
    processors = root / "sys/devices/system/cpu"
    told = {"0": "on", "1": "off"}.get(first_line(processors / "intel_pstate/no_turbo") or "")
    return told or {"1": "on", "0": "off"}.get(first_line(processors / "cpufreq/boost") or "")


def _clock_limit_share(root: Path) -> float | None:
    """Return the limit that is set to the clock over the processor's highest, of the core most limited."""
    shares = []
    for folder in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
        limit, highest = (first_line(folder / f"{name}_max_freq") for name in ("scaling", "cpuinfo"))
        if limit and highest and int(highest) > 0:
            shares.append(int(limit) / int(highest))
    return min(shares, default=None)


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform(terse=True)


def virtualization(root: Path = Path("/")) -> str | None:
    """Return what runs this machine as its guest, or None where it has the hardware for itself."""
    if "hypervisor" not in (_cpuinfo(root, "flags") or "").split():
        return None
    return first_line(root / "sys/class/dmi/id/sys_vendor") or first_line(root / "sys/hypervisor/type") or "yes"


def _container(root: Path) -> str | None:
    marks = {".dockerenv": "docker", "run/.containerenv": "podman"}
    if found := next((name for mark, name in marks.items() if (root / mark).exists()), None):
        return found
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def _gpu() -> dict[str, Fact]:
    """Return the NVIDIA GPUs, their driver and its CUDA version, if a driver answers."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {"gpu": None}
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()  # 13020 is 13.2: the newest that the driver runs
        return {
            "gpu": ", ".join(names) or None,
            "gpu_driver": pynvml.nvmlSystemGetDriverVersion(),
            "gpu_cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
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
