"""Which spans of time overlap."""

from operator import itemgetter

from benchmarks.faults.noting import Work, measured_together
from benchmarks.faults.overlapping import overlaps


def test_each_span_is_held_against_the_earlier_one_that_ends_last():
    spans = [(3, 4), (10, 12), (0, 10), (1, 2), (11, 12), (20, 21)]
    found = list(overlaps(spans, itemgetter(0), itemgetter(1)))
    assert found == [((0, 10), (1, 2)), ((0, 10), (3, 4)), ((10, 12), (11, 12))]


def test_only_measurements_have_to_be_alone_and_only_on_their_node():
    def work(kind, began, lived, node="a"):
        return Work(1, f"{kind}-{began}", kind, began, lived, lived, node)

    trainings = [work("train", 0, 10), work("train", 1, 5)]
    assert measured_together(trainings) == []
    assert measured_together([*trainings, work("measure", 6, 8, node="b")]) == []
    (line,) = measured_together([*trainings, work("measure", 6, 8)])
    assert line == "both measured: train-0 and measure-6 overlap by 4.000 s"
