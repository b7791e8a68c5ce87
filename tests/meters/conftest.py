"""Meters without their hardware: NVML's library is replaced, and powercap is a folder of our own."""

import shutil
import subprocess
from itertools import count
from pathlib import Path

import pynvml
import pytest
from meters.fake_nvml import Clock, FakeNvml
from meters.powercap import Powercap

from kdbench.meters.rapl import Rapl


@pytest.fixture
def no_nvml(monkeypatch):
    """No driver library, and nothing of what pynvml keeps of one."""

    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
    monkeypatch.setattr(pynvml, "CDLL", absent)


@pytest.fixture
def fake_nvml(no_nvml, monkeypatch):
    """The C library with one board of 100 W, in the place of the machine's."""
    library = FakeNvml(Clock())
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    return library


@pytest.fixture(scope="session")
def stub_nvml(tmp_path_factory):
    """The folder of a `libnvidia-ml.so.1` to put on LD_LIBRARY_PATH: one board of STUB_NVML_WATTS (100 by itself).

    The `nvidia-smi` beside it is for PATH: its mere presence is how codecarbon's tracker knows that there is a GPU.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc)")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("stub_nvml.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", folder / "libnvidia-ml.so.1", source]
    subprocess.run(command, check=True, timeout=60)
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)
    return folder


@pytest.fixture
def powercap(tmp_path):
    return Powercap(tmp_path)


@pytest.fixture
def make_rapl(powercap):
    """Make sources on the folder, with a clock that ticks a second a look; `pause` is what happens while they wait."""
    made = []

    def make(pause=lambda seconds: None, kind=Rapl, **machine):
        machine = {"system": "Linux", "machine": "x86_64", **machine}
        made.append(kind(powercap.root, clock=count(step=10**9).__next__, pause=pause, **machine))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture
def machine(monkeypatch):
    """A machine of known load in the place of the one that codecarbon sees."""
    from meters.codecarbon_machine import Machine, shown

    yield from shown(Machine(), monkeypatch)
