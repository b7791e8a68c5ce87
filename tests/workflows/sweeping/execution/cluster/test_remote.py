import pytest

from kdbench.errors import InputError
from kdbench.files.claim import claimed
from kdbench.progress import Silent
from kdbench.workflows.sweeping.execution.cluster import remote
from kdbench.workflows.sweeping.execution.cluster.outcomes import outcome
from kdbench.workflows.sweeping.execution.cluster.remote import Expected, Mailbox


def test_a_node_that_sees_the_drivers_folder_may_work_in_it(tmp_path):
    with claimed(tmp_path):
        expected = Expected.of(tmp_path)
        expected.check("a")
        assert remote.probe(expected) is None


def test_a_node_with_a_folder_of_its_own_may_not(tmp_path):
    with claimed(tmp_path / "shared"):
        expected = Expected.of(tmp_path / "shared")
    with pytest.raises(InputError, match="node a does not see the sweep's folder"):
        expected.check("a")
    with claimed(tmp_path / "shared"):
        (tmp_path / "shared" / ".in-use").write_text("of another driver")
        assert "does not see" in remote.probe(expected)["message"]


def test_a_node_with_another_kdbench_may_not(tmp_path):
    expected = Expected("0.0.1", str(tmp_path), "no claim")
    with pytest.raises(InputError, match=r"node a has kdbench .*, and the sweep was started with 0\.0\.1"):
        expected.check("a")


def test_a_mailbox_gives_each_message_once():
    box = Mailbox()
    box.put("a", {"note": "x"})
    assert box.take() == [("a", {"note": "x"})]
    assert box.take() == []


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize(
    ("niceness", "permitted", "set_to", "noted"), [(0, True, [], 0), (15, True, [0], 0), (15, False, [], 1)]
)
def test_a_measurement_has_the_priority_of_others(monkeypatch, niceness, permitted, set_to, noted):
    messages, progress = [], Notes()

    def set_priority(which, who, value):
        if not permitted:
            raise PermissionError
        messages.append(value)

    monkeypatch.setattr(remote.os, "nice", lambda _: niceness)
    monkeypatch.setattr(remote.os, "setpriority", set_priority)
    remote.reset_priority(progress)
    assert (messages, len(progress.notes)) == (set_to, noted)
    assert all("RAY_worker_niceness=0" in note for note in progress.notes)


def error_called(name, text=""):
    return type(name, (Exception,), {})(text)


@pytest.mark.parametrize(
    ("name", "gone", "lost"),
    [
        ("NodeDiedError", True, True),
        ("LocalRayletDiedError", True, True),
        ("TaskUnschedulableError", True, True),
        ("WorkerCrashedError", False, True),
        ("OutOfMemoryError", False, True),
        ("RuntimeEnvSetupError", False, False),
        ("Unknown", False, False),
    ],
)
def test_what_rays_errors_mean(name, gone, lost):
    known = outcome(error_called(name, "why"))
    assert (known.node_is_gone, known.fault.lost) == (gone, lost)
    assert known.fault.internal == (name == "Unknown")


def test_a_node_without_kdbench_is_told_as_such():
    known = outcome(error_called("RayTaskError", "ModuleNotFoundError: No module named 'kdbench'"))
    assert "pip install" in known.fault.hint
    assert not known.fault.internal
