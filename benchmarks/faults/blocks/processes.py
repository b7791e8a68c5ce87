"""Processes and files: kills at any moment, owners that die, folders claimed twice, full disks, many benches at once.

Linux. Trials that need root (another user, a disk of a few KiB, a read-only /tmp) are left out without it.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.commands import new_place
from benchmarks.faults.situations.disks import full_disk, full_file, read_only, read_only_folder
from benchmarks.faults.situations.kills import claimed_twice, ended_worker, killed, killed_owner, stopped_owner
from benchmarks.faults.situations.surroundings import (
    homeless,
    limited,
    planted_lock,
    second_user,
    shadowed,
    unwritable_output,
)
from benchmarks.faults.situations.together import benches_at_once
from benchmarks.faults.trial import Trial


def trials(_folder: Path, seed: int, count: int) -> Iterator[Trial]:
    """Yield trials of every kind in turn."""
    rng, root = random.Random(seed), os.geteuid() == 0
    kinds = [killed, killed_owner, killed, claimed_twice, killed, full_file, planted_lock, shadowed, homeless]
    kinds += [unwritable_output, limited, ended_worker, stopped_owner, benches_at_once]
    kinds += [full_disk, second_user, read_only, read_only_folder] if root else []
    for number in range(count):
        with new_place() as place:
            what, fault = kinds[number % len(kinds)](rng, place)
        yield Trial("processes", what, "survived", (fault,) if fault else ())
