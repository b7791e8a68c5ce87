"""What intervals must know of the sessions on this machine."""

import numpy as np
import pytest

from kdbench.measure.latency import ratios
from kdbench.measure.latency.ratios import ratios_by_session, session_plan
from kdbench.measure.latency.sessions import timing_s
from kdbench.recipe.tables.measure import Measure
from kdbench.statistics import Clustered, Plan
from kdbench.statistics.few_sessions import RESOLUTION, SHARED_RESOLUTION


@pytest.mark.parametrize(("virtual", "resolution"), [(None, RESOLUTION), ("KVM", SHARED_RESOLUTION)])
def test_a_guest_does_not_see_its_neighbours(monkeypatch, virtual, resolution):
    monkeypatch.setattr(ratios, "virtualization", lambda: virtual)
    assert session_plan((1, 2, 3), 8) == Plan(8, 3, resolution)
    assert session_plan(None) == Plan(None, 1, resolution)
    assert session_plan(None, shared=False) == Plan(None, 1, RESOLUTION)  # of another machine


@pytest.mark.parametrize(
    ("budget_s", "overhead_s", "expected"),
    [
        (20.0, 0.25, 0.75),  # the usual session of a second, less its start
        (10.0, 0.5, 0.5),  # it starts for as long as the usual session lasts: it times as long
        (10.0, 0.9, 0.35),  # of the planned eight, each may last 1.25 s
        (1.0, 0.5, 0.015),  # no room: the least share of the usual session
    ],
)
def test_a_session_measures_for_as_long_as_it_starts_if_the_planned_ones_still_fit(budget_s, overhead_s, expected):
    assert timing_s(Measure(budget_s=budget_s), overhead_s) == pytest.approx(expected)


def blocks_of(times, preempted):
    """Return one call a block: `times` and `preempted` are (sessions, blocks)."""
    session, block = np.indices(np.shape(times))
    return Clustered(*(np.ravel(array) for array in (np.array(times, float), session, block, preempted)))


def test_rounds_in_which_either_model_lost_its_core_have_no_ratio():
    lost = np.zeros((5, 4), int)
    lost[1, 2] = lost[3, :3] = 3  # one round of a session; all but one of another, which is left out
    teacher, student = blocks_of(np.where(lost, 99.0, 6.0), lost), blocks_of(np.full((5, 4), 2.0), 0 * lost)
    ratios = {session: np.exp(logs).round(6).tolist() for session, logs in ratios_by_session(teacher, student).items()}
    assert ratios == {0: [3.0] * 4, 1: [3.0] * 3, 2: [3.0] * 4, 4: [3.0] * 4}


def test_where_too_few_sessions_keep_their_core_every_round_has_a_ratio():
    lost = np.full((5, 4), 3)
    lost[:3] = 0
    student = blocks_of(np.full((5, 4), 2.0), 0 * lost)
    ratios = ratios_by_session(blocks_of(np.where(lost, 8.0, 6.0), lost), student)
    assert [np.exp(logs).round(6).tolist() for logs in ratios.values()] == [[3.0] * 4] * 3 + [[4.0] * 4] * 2
