"""The pause of the search for reference cycles."""

import gc

import pytest

from kdbench.files.cycles import cycle_collection_paused


@pytest.fixture(autouse=True)
def enabled():
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


def test_the_search_goes_on_afterwards_also_after_an_error():
    @cycle_collection_paused()
    def state(fails):
        assert not gc.isenabled()
        if fails:
            raise ValueError

    for _ in range(2):  # a decorated function can be called again
        state(fails=False)
        assert gc.isenabled()
    with pytest.raises(ValueError):  # noqa: PT011 - ours
        state(fails=True)
    assert gc.isenabled()


def test_an_inner_pause_ends_with_the_outer_one():
    with cycle_collection_paused():
        with cycle_collection_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_has_paused_it_keeps_it_paused():
    gc.disable()
    with cycle_collection_paused():
        pass
    assert not gc.isenabled()
