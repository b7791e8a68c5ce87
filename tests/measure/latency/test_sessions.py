"""What intervals must know of the sessions on this machine."""

import pytest

from kdbench.measure.latency import sessions
from kdbench.measure.latency.sessions import session_plan
from kdbench.statistics import Plan
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION


@pytest.mark.parametrize(("virtual", "resolution"), [(None, RESOLUTION), ("KVM", SHARED_RESOLUTION)])
def test_a_guest_does_not_see_its_neighbours(monkeypatch, virtual, resolution):
    monkeypatch.setattr(sessions, "virtualization", lambda: virtual)
    assert session_plan((1, 2, 3), 8) == Plan(8, 3, resolution)
    assert session_plan(None) == Plan(None, 1, resolution)
