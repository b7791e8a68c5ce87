"""Which cores measuring processes are kept on."""

import os
import subprocess
import sys

import pytest

from kdbench.errors import InputError
from kdbench.measure.machine import cores

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5, 6, 7})


@pytest.mark.usefixtures("eight")
def test_the_last_cores_are_chosen_as_many_as_threads():
    assert cores.chosen_cores(None, (1, 2)) == (6, 7)
    assert cores.chosen_cores((3, 1), (2,)) == (3, 1)


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("asked", "threads", "about"), [((8,), (1,), "cores: 8"), ((0,), (2,), "1 named for 2 threads")]
)
def test_cores_that_cannot_be_are_refused(asked, threads, about):
    with pytest.raises(InputError, match=about):
        cores.chosen_cores(asked, threads)


def test_without_pinning_cores_cannot_be_asked_for(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    assert cores.chosen_cores(None, (1,)) is None
    with pytest.raises(InputError, match="cannot pin"):
        cores.chosen_cores((0,), (1,))


def test_a_pinned_process_stays_there():
    last = cores.available_cores()[-1]
    code = f"import os; from kdbench.measure.machine.cores import pin; pin([{last}]); print(os.sched_getaffinity(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{{{last}}}"
