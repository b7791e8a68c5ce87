import pytest

from kdbench.measure.energy import SOURCES, Available, Found, Unavailable, sources
from kdbench.measure.energy.rapl import Rapl


def test_the_sources_that_ship():
    assert SOURCES.names() == ["nvml", "rapl"]


@pytest.mark.parametrize(("provider", "name"), [("cpu", "rapl"), ("cuda", "nvml")])
def test_each_provider_has_its_counter(provider, name):
    assert [found.counter.name for found in sources(provider)] == [name]


def test_every_source_is_usable_or_says_why():
    for found in sources():
        assert isinstance(found.state, Available) or found.state.reason
        assert str(found)


def test_scopes_do_not_overlap():
    scopes = [found.counter.scope for found in sources()]
    assert len(set(scopes)) == len(scopes)


def test_text_of_a_source():
    assert str(Found(Rapl(), Available("2 CPU packages"))) == "rapl: 2 CPU packages"
    assert str(Found(Rapl(), Unavailable("RAPL: no", "do this"))) == "RAPL: no; do this"
