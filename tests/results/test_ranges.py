import pytest

from kdbench.results.ranges import form_of, with_ranges


@pytest.mark.parametrize(
    ("messages", "joined"),
    [
        (
            ["sessions differ by 12 %", "sessions differ by 9 %", "sessions differ by 16 %"],
            "sessions differ by 9 to 16 %",
        ),
        (
            ["up to 8.2 % wide; 5 % was requested", "up to 17.0 % wide; 5 % was requested"],
            "up to 17.0 % wide; 5 % was requested",
        ),
        (["at least 3 ms", "at least 2 ms"], "at least 2 ms"),
        (["1,024 pages were fetched", "900 pages were fetched"], "900 to 1,024 pages were fetched"),
        (["in 5 of 16 sessions", "in 3 of 12 sessions"], "in 3 to 5 of 12 to 16 sessions"),
        (["sessions differ by 12 to 16 %", "sessions differ by 9 to 13 %"], "sessions differ by 9 to 16 %"),
        (["in 3 of 4 sessions", "in 1 to 2 of 8 sessions"], "in 1 to 3 of 4 to 8 sessions"),
        (["a call of 3.1 µs"], "a call of 3.1 µs"),
    ],
)
def test_quantities_that_differ_become_ranges(messages, joined):
    assert len({form_of(message) for message in messages}) == 1
    assert with_ranges(messages) == joined


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("latency at batch 1, 1 thread: slow", "latency at batch 128, 1 thread: slow"),
        ("it predicts class 3 for all samples", "it predicts class 5 for all samples"),
        ("cores 2 and 3 are one physical core", "cores 4 and 5 are one physical core"),
        ("it took 1 min 20 s", "it took 1 min 30 s"),
        ("a call of 900 ns", "a call of 1.1 µs"),
        ("node 5 of 7 fails", "node # of 7 fails"),
        ("ce0_1-300 % is missing", "ce0_1-500 % is missing"),
    ],
)
def test_numbers_that_identify_and_units_keep_messages_apart(one, other):
    assert form_of(one) != form_of(other)
