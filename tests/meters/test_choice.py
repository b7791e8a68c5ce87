"""Which source is read for what, with sources of this file alone in the register."""

import pytest

from kdbench.meters import choice
from kdbench.meters.choice import all_meters, choose
from kdbench.meters.meter import METERS, Available, Part, Rank, Unavailable

WORKS = Available("it works")


def source(name, rank, covers, state=WORKS, evidence="measured", stands_for=None):
    class Source:
        def available(self):
            return state

    Source.name, Source.rank, Source.covers, Source.evidence = name, rank, frozenset(covers), evidence
    Source.scope = f"{name} scope"
    Source.stands_for = frozenset(stands_for or covers)
    return Source


RAPL = source("rapl", Rank.COUNTER, {Part.CPU})
PSYS = source("psys", Rank.BOARD, {Part.CPU, Part.GPU, Part.REST}, stands_for={Part.CPU})
JETSON = source("jetson", Rank.BOARD, {Part.CPU, Part.GPU, Part.REST}, stands_for={Part.CPU, Part.GPU})
NVML = source("nvml", Rank.COUNTER, {Part.GPU})
POWER = source("power", Rank.POWER, {Part.GPU})
GUESS = source("guess", Rank.ESTIMATE, {Part.CPU}, evidence="estimated")


def unavailable(entry, reason, hint="", *, expected=True):
    state = Unavailable(reason, hint, expected=expected)
    return source(entry.name, entry.rank, entry.covers, state, entry.evidence, entry.stands_for)


@pytest.fixture
def register(monkeypatch):
    METERS.names()

    def fill(*entries):
        monkeypatch.setattr(METERS, "_entries", {entry.name: entry for entry in entries})

    return fill


def used(provider, *, estimate=False):
    return [source.meter.name for source in choose(provider, estimate=estimate).used]


def test_the_sources_that_ship():
    assert METERS.names() == [
        "codecarbon",
        "jetson",
        "nvml",
        "nvml-mean-power",
        "nvml-power",
        "rapl",
        "rapl-psys",
        "raspberry-pi",
    ]


def test_every_shipped_source_says_what_it_covers_and_how():
    known = {Part.CPU, Part.GPU, Part.REST}
    for _, make in METERS:
        counter = make()
        assert counter.scope
        assert counter.covers
        assert counter.covers <= known
        assert counter.stands_for
        assert counter.stands_for <= counter.covers
        assert (counter.evidence == "estimated") == (counter.rank is Rank.ESTIMATE)


def test_each_provider_is_led_by_its_part(register):
    register(RAPL, NVML)
    assert used("cpu") == ["rapl"]
    assert used("cuda") == ["nvml", "rapl"]


def test_the_nearest_source_that_works_is_taken(register):
    register(unavailable(NVML, "NVML: no counter"), POWER, RAPL, PSYS)
    assert used("cuda") == ["power", "rapl"]
    register(unavailable(RAPL, "RAPL: no"), PSYS)
    assert used("cpu") == ["psys"]


def test_no_two_sources_overlap(register):
    """A wide meter that leads holds the CPU already: its package would be counted twice."""
    register(RAPL, JETSON)
    assert used("cuda") == ["jetson"]
    register(NVML, PSYS)  # and one that holds the board already is no meter of the rest
    assert used("cuda") == ["nvml"]


def test_a_platform_does_not_stand_for_its_graphics_board(register):
    """It may hold it or not; that a sum must not hold both is another matter."""
    register(unavailable(NVML, "NVML: no counter"), PSYS)
    assert used("cuda") == []
    assert used("cpu") == ["psys"]


def test_an_estimate_is_taken_only_when_asked_for_and_when_nothing_measures(register):
    register(GUESS)
    assert used("cpu") == []
    assert used("cpu", estimate=True) == ["guess"]
    register(GUESS, RAPL)
    assert used("cpu", estimate=True) == ["rapl"]
    register(GUESS, NVML)
    assert used("cuda", estimate=True) == ["nvml", "guess"]


def test_the_reason_is_that_of_the_nearest_source_this_machine_should_have(register):
    register(
        unavailable(RAPL, "RAPL: permission denied", "be root"),
        unavailable(PSYS, "RAPL: no psys", expected=False),
        unavailable(source("pi", Rank.BOARD, {Part.CPU}), "Pi: no vcgencmd", "install it"),
        unavailable(GUESS, "codecarbon: not installed"),
    )
    refusal = choose("cpu", estimate=False).leading
    assert refusal.reason == "RAPL: permission denied"
    assert refusal.hint == "rapl: be root; pi: install it; --estimate-energy gives a labelled estimate"
    assert "estimate" not in choose("cpu", estimate=True).leading.hint


def test_a_machine_without_any_source_has_no_energy_and_no_zero(register):
    register(unavailable(RAPL, "RAPL: not on this CPU", expected=False))
    choice_made = choose("cuda", estimate=True)
    assert choice_made.used == ()
    assert choice_made.leading == Unavailable("no energy counter")


def test_all_are_listed_the_nearest_first(register):
    register(GUESS, PSYS, RAPL)
    assert [status.meter.name for status in all_meters()] == ["rapl", "psys", "guess"]


def test_what_is_not_asked_for_is_not_tried(register):
    class Costly(GUESS):
        def available(self):
            raise AssertionError

    register(Costly, RAPL, NVML)
    assert used("cpu", estimate=True) == ["rapl"]
    assert used("cuda", estimate=False) == ["nvml", "rapl"]


def test_parts_of_every_provider():
    from kdbench.worker.jobs import PROVIDERS

    assert choice._PARTS.keys() == PROVIDERS.keys()
