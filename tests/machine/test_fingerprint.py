import getpass
import os
import platform
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import kdbench
from kdbench.machine.fingerprint import _working_copy, fingerprint, libraries


def root_with(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_fingerprint_says_what_other_sources_say():
    host = fingerprint().host
    assert host["cores_logical"] == os.cpu_count()
    assert host["memory_bytes"] == psutil.virtual_memory().total
    assert host["python"] == f"CPython {platform.python_version()}"
    assert str(host["kernel"]).endswith(os.uname().release)


@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="this system does not pin processes to cores")
def test_usable_cores_are_those_this_process_is_pinned_to():
    assert fingerprint().host["cores_usable"] == len(psutil.Process().cpu_affinity())


def test_where_processes_are_not_pinned_all_cores_are_usable(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    host = fingerprint().host
    assert host["cores_usable"] == host["cores_logical"]


def test_the_fingerprint_names_neither_person_nor_machine_nor_place():
    text = fingerprint().model_dump_json()
    words = set(re.findall(r"[\w.-]+", text))
    assert not words & {socket.gethostname(), getpass.getuser()}
    assert str(Path.cwd()) not in text
    assert sys.prefix not in text


def test_versions_are_those_of_the_installed_distributions():
    result = libraries()
    assert result["kdbench"] == kdbench.__version__
    assert result["numpy"] == metadata.version("numpy")
    assert result["torch"] == metadata.version("torch")


def test_taking_the_fingerprint_imports_no_library_it_names():
    program = "from kdbench.machine.fingerprint import fingerprint; fingerprint(); import sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "onnxruntime", "numpy", "lightning_fabric"} & set(ended.stdout.split())


X86 = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2{}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n"


def firmware(vendor, product):
    """Return the files in which Linux shows how the firmware calls the machine."""
    return {"sys/class/dmi/id/sys_vendor": f"{vendor}\n", "sys/class/dmi/id/product_name": f"{product}\n"}


@pytest.mark.parametrize(
    ("files", "fact", "expected"),
    [
        ({"proc/cpuinfo": X86.format("")}, "cpu", "Some CPU @ 3 GHz"),
        ({"proc/device-tree/model": "Raspberry Pi 5 Model B\0"}, "cpu", "Raspberry Pi 5 Model B"),
        ({"proc/device-tree/model": "Raspberry Pi 5 Model B\0"}, "board", "Raspberry Pi 5 Model B"),
        ({"proc/cpuinfo": X86.format("")}, "board", None),
        ({"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n"}, "governor", "powersave"),
        ({}, "governor", None),
        ({"proc/cpuinfo": X86.format("")}, "virtualization", None),
        ({"proc/cpuinfo": X86.format(" hypervisor")}, "virtualization", "yes"),
        (
            {"proc/cpuinfo": X86.format(" hypervisor"), "sys/class/dmi/id/sys_vendor": "QEMU\n"},
            "virtualization",
            "QEMU",
        ),
        ({"proc/cpuinfo": X86.format(""), "sys/class/dmi/id/sys_vendor": "QEMU\n"}, "virtualization", None),
        ({"proc/cpuinfo": ARM}, "virtualization", None),
        ({"proc/cpuinfo": ARM, **firmware("Amazon EC2", "m7g.large")}, "virtualization", "Amazon EC2"),
        ({"proc/cpuinfo": ARM, **firmware("Amazon EC2", "m7g.metal-48xl")}, "virtualization", None),
        ({"proc/cpuinfo": ARM, **firmware("Google", "Google Compute Engine")}, "virtualization", "Google"),
        ({"proc/cpuinfo": ARM, **firmware("Google", "Lazor")}, "virtualization", None),  # a Chromebook
        (
            {
                "proc/cpuinfo": ARM,
                **firmware("Microsoft Corporation", "Virtual Machine"),
                "sys/class/dmi/id/product_version": "Hyper-V UEFI Release v4.1\n",
            },
            "virtualization",
            "Microsoft Corporation",
        ),
        ({"proc/cpuinfo": ARM, "proc/device-tree/compatible": "linux,dummy-virt\0"}, "virtualization", "yes"),
        ({"proc/cpuinfo": ARM, "proc/device-tree/hypervisor/compatible": "xen,xen\0"}, "virtualization", "yes"),
        ({"proc/cpuinfo": ARM, "proc/device-tree/compatible": "raspberrypi,5\0brcm\0"}, "virtualization", None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, "cpu_quota_cores", 1.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, "cpu_quota_cores", None),
        ({}, "cpu_quota_cores", None),
        (
            {
                "proc/self/cgroup": "0::/a.slice/b.scope\n",
                "sys/fs/cgroup/a.slice/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000\n",
            },
            "cpu_quota_cores",
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/m\n3:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1\n",
            },
            "cpu_quota_cores",
            2.5,
        ),
        ({"sys/devices/system/cpu/intel_pstate/no_turbo": "0\n"}, "turbo", "on"),
        ({"sys/devices/system/cpu/cpufreq/boost": "0\n"}, "turbo", "off"),
        ({}, "turbo", None),
        ({"sys/devices/system/cpu/smt/active": "1\n"}, "smt", "on"),
        ({}, "smt", None),
        (
            {
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "4000000\n",
                "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "4000000\n",
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq": "3000000\n",
                "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq": "4000000\n",
            },
            "clock_limit_share",
            0.75,
        ),
        ({}, "clock_limit_share", None),
        ({".dockerenv": ""}, "container", "docker"),
        ({"run/.containerenv": ""}, "container", "podman"),
    ],
)
def test_facts_are_read_where_the_system_keeps_them(tmp_path, files, fact, expected):
    assert fingerprint(root_with(tmp_path, files)).host[fact] == expected


def nvml(names: list[str]) -> SimpleNamespace:
    """Return what stands for the module pynvml on a machine with these GPUs; without any, no driver answers."""

    class NVMLError(Exception):
        pass

    def init() -> None:
        if not names:
            raise NVMLError

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: len(names),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: names[handle],
        nvmlSystemGetDriverVersion=lambda: "580.1",
        nvmlSystemGetCudaDriverVersion=lambda: 13020,
        nvmlShutdown=lambda: None,
    )


@pytest.mark.parametrize(
    ("names", "gpu"), [([], None), (["NVIDIA H100"], "NVIDIA H100"), (["A", "B"], "A, B")], ids=["none", "one", "two"]
)
def test_gpus_are_those_a_driver_names(monkeypatch, names, gpu):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(names))
    host = fingerprint().host
    assert host["gpu"] == gpu
    assert host.get("gpu_driver") == ("580.1" if names else None)
    assert host.get("gpu_cuda") == ("13.2" if names else None)


def test_a_working_copy_is_known_by_its_commit_and_its_changes(tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert _working_copy(tmp_path) == (None, None)
    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    assert _working_copy(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "file").write_text("two")
    assert _working_copy(tmp_path) == (git("rev-parse", "HEAD"), True)
    # A package installed into a virtual environment inside somebody's repository is not that repository.
    (tmp_path / "site-packages").mkdir()
    assert _working_copy(tmp_path / "site-packages") == (None, None)
