"""How trainings reuse memory, in processes of their own: the allocator's settings belong to the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK_BYTES = 64 << 20  # larger than any block that glibc keeps by default

# Prints the page faults of eight blocks, one after the other: outside, within and after `freed_memory_kept`, and the
# resident bytes after it.
SCRIPT = f"""
import os, resource
import numpy as np
from kdbench.distill.training.allocator import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.empty({BLOCK_BYTES}, np.uint8)[::4096] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

outside, before = faults(), resident()
with freed_memory_kept():
    inside, kept = faults(), resident()
after, released = faults(), resident()
print(outside, inside, after, kept - before, released - before)
"""
PAGES = BLOCK_BYTES // 4096

# Prints a hash of the weights after two steps of a network with feature maps of BLOCK_BYTES.
TRAINING = f"""
import hashlib, sys
import torch
from contextlib import nullcontext
from kdbench.distill.training.allocator import freed_memory_kept

torch.manual_seed(0)
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.BatchNorm2d(64), torch.nn.Conv2d(64, 1, 3))
optimizer = torch.optim.SGD(network.parameters(), 0.1)
with freed_memory_kept() if sys.argv[1] == "kept" else nullcontext():
    for _ in range(2):
        network(torch.randn({BLOCK_BYTES} // (4 * 64 * 32 * 32), 3, 32, 32)).square().mean().backward()
        optimizer.step()
print(hashlib.sha256(b"".join(value.numpy().tobytes() for value in network.state_dict().values())).hexdigest())
"""


def run(script: str, *arguments: str, **environment: str) -> str:
    fresh = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    # numpy would ask for huge pages, which hide faults.
    variables = {**fresh, **environment, "NUMPY_MADVISE_HUGEPAGE": "0"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout


def measured(**environment: str) -> list[int]:
    return [int(word) for word in run(SCRIPT, **environment).split()]


@pytest.fixture(scope="module", autouse=True)
def glibc() -> None:
    if sys.platform != "linux" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"):  # type: ignore[operator]
        pytest.skip("the C library is not glibc")
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc")


def test_a_freed_block_serves_the_next_and_goes_back_at_the_end() -> None:
    outside, inside, after, kept, released = measured()
    assert outside > 7 * PAGES, "every block should be cleared anew by default"
    assert inside < 2 * PAGES
    assert after > 7 * PAGES
    assert kept > 0.9 * BLOCK_BYTES
    assert released < 0.1 * BLOCK_BYTES


@pytest.mark.parametrize("setting", ["MALLOC_TRIM_THRESHOLD_=100000", "GLIBC_TUNABLES=glibc.malloc.mmap_max=65536"])
def test_the_users_settings_of_the_allocator_stay(setting: str) -> None:
    outside, inside, *_ = measured(**dict([setting.split("=", 1)]))
    assert min(outside, inside) > 7 * PAGES


def test_the_weights_do_not_depend_on_it() -> None:
    weights = run(TRAINING, "kept")
    assert len(weights.split()) == 1
    assert weights == run(TRAINING, "default")
