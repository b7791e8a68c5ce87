"""A process that is kept on some cores."""

import os
import subprocess
import sys

import pytest

from kdbench.machine import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
def test_a_pinned_process_stays_there():
    last = cores.available_cores()[-1]
    code = f"import os; from kdbench.machine.cores import pin; pin([{last}]); print(os.sched_getaffinity(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{{{last}}}"
