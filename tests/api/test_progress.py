import sys
from pathlib import Path
from types import SimpleNamespace

from kdbench.api.progress import NotebookProgress, in_notebook, shown
from kdbench.progress import Progress, Silent


class ZMQInteractiveShell: ...


def test_a_notebook_is_recognised(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    assert in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()


def test_progress_is_silent_elsewhere_and_the_users_own_where_given():
    with shown(None) as silent:
        assert isinstance(silent, Silent)
    own = Progress()
    with shown(own) as given:
        assert given is own


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
    assert "done in 61 s" in drawn[3]
    assert "runs/x" in drawn[3]
