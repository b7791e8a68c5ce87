"""A small part of `python -m benchmarks.faults processes`: the trials that take a moment."""

import os
import random

import pytest

from benchmarks.faults import commands
from benchmarks.faults.situations import kills, surroundings, together

# As the fixture `_one_process`, in the processes of the benches.
ONE_PROCESS = """
import sys
from kdbench.cli.main import main
from kdbench.measure.passes import cold_start, memory
cold_start.PROCESSES = memory.PROCESSES = 1
sys.exit(main())
"""


@pytest.fixture
def _short_benches(monkeypatch):
    defaults = commands.start.__kwdefaults__
    monkeypatch.setitem(defaults, "command", (*defaults["command"][:-1], ONE_PROCESS))


@pytest.mark.parametrize("seed", range(2))
def test_what_is_planted_in_the_locks_place_is_left_alone(tmp_path, seed):
    assert surroundings.planted_lock(random.Random(seed), tmp_path)[1] == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
@pytest.mark.parametrize("seed", range(2))
def test_users_take_turns_at_the_lock(tmp_path, seed):
    for folder in (tmp_path, *(path for path in tmp_path.parents if path.name.startswith(("pytest-", "popen-")))):
        folder.chmod(0o755)
    assert surroundings.second_user(random.Random(seed), tmp_path)[1] == ""


@pytest.mark.slow
@pytest.mark.usefixtures("_short_benches")
def test_two_benches_in_one_folder_do_not_meet(tmp_path):
    assert kills.claimed_twice(random.Random(0), tmp_path)[1] == ""


@pytest.mark.slow
@pytest.mark.usefixtures("_short_benches")
def test_benches_that_begin_at_once_measure_one_after_the_other(tmp_path):
    (tmp_path / "tmp").mkdir()
    assert together.benches_at_once(random.Random(0), tmp_path, 2)[1] == ""
