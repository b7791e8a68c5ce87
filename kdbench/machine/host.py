"""Facts about a machine, its operating system and its libraries, from /proc and /sys; on Linux by Python alone.

They contain no user name, host name or path, because records are published. Devices that measure a bundle use this file
as well.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Union

from kdbench.installation import __version__
from kdbench.machine.cores import available_cores, siblings
from kdbench.machine.nvidia import query
from kdbench.machine.system_files import ROOT, fields, first_line, number, quota_cores, text
from kdbench.machine.system_monitor import busy_seconds
from kdbench.processes.machine_memory import machine_memory_bytes

_FIRMWARE = "sys/class/dmi/id"
# How the firmware of virtual machines calls the product, its maker or itself, and the boards that only exist as one.
_VIRTUAL_MACHINES = ("Amazon EC2", "Apple Virtualization", "Google Compute Engine", "Hyper-V", "KVM", "KubeVirt",
                     "OpenStack", "Parallels", "QEMU", "VMware", "VMW", "VirtualBox", "Xen")  # fmt: skip
_VIRTUAL_BOARDS = ("linux,dummy-virt", "riscv-virtio")
_LOAD_WINDOW_S = 0.2  # how long to observe the machine's other work

LIBRARIES = (
    *("torch", "torchvision", "lightning-fabric", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu"),
    *("openvino", "ai-edge-litert", "tflite-micro"),
    *("nvidia-ml-py", "codecarbon", "fvcore", "numpy", "scipy", "scikit-learn", "safetensors"),
)

Fact = Union[str, int, float, None]


def host_facts(root: Path = ROOT) -> dict[str, Fact]:
    """Return the facts about this machine; unknown ones are None."""
    return {
        "board": first_line(root / "proc/device-tree/model"),  # None on a PC, which the processor describes
        "cpu": processor(root),
        "machine": platform.machine(),
        "cores_physical": _physical_cores(root),
        "cores_logical": os.cpu_count(),
        "cores_usable": len(available_cores()),
        "cpu_quota_cores": quota_cores(root),
        "memory_bytes": machine_memory_bytes(),
        "os": _operating_system(root),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "governor": first_line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(root),
        "clock_limit_share": _clock_limit_share(root),
        "smt": {"1": "on", "0": "off"}.get(first_line(root / "sys/devices/system/cpu/smt/active") or ""),
        "virtualization": virtualization(root),
        "container": _container(root),
        # Not the load average, which still includes the training that this process has just finished.
        "cores_busy": _cores_busy(),
        **_gpu(),
    }


def libraries() -> dict[str, str]:
    """Return the versions of kdbench and the installed libraries that numbers depend on, without importing them."""
    versions = {"kdbench": __version__}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def processor(root: Path = ROOT) -> str | None:
    """Return the processor's name: from cpuinfo on x86, from the device tree on boards, from sysctl on a Mac."""
    if platform.system() == "Darwin":
        return output_of(["sysctl", "-n", "machdep.cpu.brand_string"])
    cpuinfo = fields(root / "proc/cpuinfo", ":")
    return cpuinfo.get("model name") or first_line(root / "proc/device-tree/model") or platform.processor() or None


def _turbo(root: Path) -> str | None:
    """Return whether the clock may exceed its base: `on`, `off`, or None if unknown."""
    processors = root / "sys/devices/system/cpu"
    if (disabled := first_line(processors / "intel_pstate/no_turbo")) in {"0", "1"}:
        return "on" if disabled == "0" else "off"
    return {"1": "on", "0": "off"}.get(first_line(processors / "cpufreq/boost") or "")


def _clock_limit_share(root: Path) -> float | None:
    """Return the clock limit of the most limited core, as a share of the processor's highest clock."""
    folders = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    clocks = ((number(folder / "scaling_max_freq"), number(folder / "cpuinfo_max_freq")) for folder in folders)
    return min((limit / highest for limit, highest in clocks if limit and highest), default=None)


def _operating_system(root: Path) -> str:
    for file in ("etc/os-release", "usr/lib/os-release"):
        if name := fields(root / file, "=").get("PRETTY_NAME"):
            return name.strip("\"'")
    return platform.platform(terse=True)


def _physical_cores(root: Path) -> int | None:
    """Return the number of cores, hardware threads of one core counted once."""
    if platform.system() != "Linux":
        import psutil

        return psutil.cpu_count(logical=False)  # type: ignore[no-any-return]
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*")
    threads = [siblings(int(folder.name[3:]), root) for folder in folders if folder.name[3:].isdecimal()]
    known = {one for one in threads if one is not None}
    return len(known) or None


def _cores_busy() -> float | None:
    """Return how many cores are busy at the moment; None if the system does not report it."""
    if platform.system() != "Linux":
        import psutil

        return float(round(psutil.cpu_percent(interval=_LOAD_WINDOW_S) / 100 * (psutil.cpu_count() or 1), 2))
    before, begin = busy_seconds(), time.monotonic()
    time.sleep(_LOAD_WINDOW_S)
    after, seconds = busy_seconds(), time.monotonic() - begin
    return round(sum(after[core] - before[core] for core in before if core in after) / seconds, 2) if before else None


def virtualization(root: Path = ROOT) -> str | None:
    """Return the hypervisor that this machine is a guest of, or None on bare metal."""
    flags = fields(root / "proc/cpuinfo", ":").get("flags")
    is_guest = _is_guest_by_firmware(root) if flags is None else "hypervisor" in flags.split()
    if not is_guest:
        return None
    return first_line(root / _FIRMWARE / "sys_vendor") or first_line(root / "sys/hypervisor/type") or "yes"


def _is_guest_by_firmware(root: Path) -> bool:
    """Return whether firmware or device tree describe a virtual machine; only x86 has a processor flag for it."""
    names = ("product_name", "sys_vendor", "bios_vendor", "product_version")
    product, *others = (first_line(root / _FIRMWARE / name) or "" for name in names)
    if ".metal" in product:  # EC2's bare machines have the vendor of its virtual ones
        return False
    tree = root / "proc/device-tree"
    is_virtual_board = text(tree / "compatible").startswith(_VIRTUAL_BOARDS) or (tree / "hypervisor").is_dir()
    return is_virtual_board or any(name.startswith(_VIRTUAL_MACHINES) for name in (product, *others))


def _container(root: Path) -> str | None:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def _gpu() -> dict[str, Fact]:
    """Return the NVIDIA GPUs, their driver and its CUDA version, if there is a driver."""

    def facts(pynvml: Any) -> dict[str, Fact]:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()  # 13020 is 13.2: the newest that the driver runs
        return {
            "gpu": ", ".join(pynvml.nvmlDeviceGetName(handle) for handle in handles) or None,
            "gpu_driver": pynvml.nvmlSystemGetDriverVersion(),
            "gpu_cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        }

    return query(facts) or {"gpu": None}


def output_of(command: list[str]) -> str | None:
    """Return the standard output of a command, or None if it cannot be run or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
