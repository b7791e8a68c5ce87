import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench.api.progress import NotebookProgress, in_notebook, progress_display
from kdbench.progress import Progress, Silent


class ZMQInteractiveShell: ...


def test_a_notebook_is_recognised(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    assert in_notebook()
    colab = type("Shell", (ZMQInteractiveShell,), {})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=colab))
    assert in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()


def test_progress_is_silent_elsewhere_and_the_users_own_where_given():
    with progress_display(None) as silent:
        assert isinstance(silent, Silent)
    progress = Progress()
    with progress_display(progress) as displayed:
        assert displayed is progress


def test_a_cell_shows_the_stage_at_most_twice_a_second_and_where_the_results_are():
    drawn, now = [], [0.0]
    progress = NotebookProgress(drawn.append, lambda: now[0])
    progress.stage("measure <b>", 2, 3)
    for second in (0.1, 0.2, 0.7, 0.8):
        now[0] = second
        progress.step(second, 1.0, "session")
    progress.note("a & b")
    progress.folder(Path("runs/x"))
    now[0] = 61.0
    progress.close()
    assert len(drawn) == 4
    assert "[2/3] measure &lt;b&gt;" in drawn[0]
    assert 'value="0.700"' in drawn[1]
    assert "a &amp; b" in drawn[2]
    assert "done in 1 min 01 s" in drawn[3]
    assert "runs/x" in drawn[3]


def test_a_cell_shows_how_long_the_rest_of_the_stage_takes_without_the_time_of_waits():
    drawn, now = [], [0.0]
    progress = NotebookProgress(drawn.append, lambda: now[0])
    progress.stage("measure", 1, 2)
    for second, share in ((10.0, 0.1), (20.0, 0.2)):
        now[0] = second
        progress.step(share, 1.0, "session")
    assert "session · 1 min 20 s left" in drawn[-1]  # 80 of the 100 s that the stage takes at this pace
    for now[0] in (30.0, 90.0):
        progress.waiting("another measurement")
    assert "another measurement" in drawn[-1]
    assert "left" not in drawn[-1]
    now[0] = 100.0
    progress.step(0.3, 1.0)
    assert "1 min 45 s left" in drawn[-1]  # 0.2 of it took 90 s without the 60 from one word of the wait to the next
    progress.stage("report", 2, 2)
    assert "left" not in drawn[-1]


def test_a_cell_shows_where_work_that_failed_stopped(monkeypatch):
    drawn = []
    monkeypatch.setattr("kdbench.api.progress.in_notebook", lambda: True)
    monkeypatch.setattr("kdbench.api.progress._cell", lambda: drawn.append)

    def work():
        with progress_display(None) as progress:
            progress.stage("load", 1, 3)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        work()
    assert re.fullmatch(r"stopped after [\d.]+ s, \[1/3\] load", drawn[-1])
