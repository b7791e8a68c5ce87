"""Where a sweep over batches stops: models whose times are a formula."""

import pytest

from kdbench.worker.batch_sweep import Limits, Sweep, sweep


def swept(call_ns, exhausted=lambda _: None, **options):
    return sweep(call_ns, exhausted, str, (MemoryError,), **options)


def saturating(at):
    """A call costs 1000 ns, and 100 ns a sample beyond what `at` samples need."""
    return lambda batch: 1000 + 100 * max(batch - at, 0)


def batches(result):
    return [step.batch for step in result.steps]


def test_two_doublings_without_growth_end_it():
    # 100 ns a sample at most: 8/1000, 16/1800, 32/3400 … approach 1/100 from below; 512 and 1024 bring under 2 %.
    result = swept(saturating(8))
    assert result.ended == "saturated"
    rates = [step.batch / step.call_ns for step in result.steps]
    assert max(rates[-2:]) < 1.02 * max(rates[:-2])
    assert max(rates[-3:-1]) >= 1.02 * max(rates[:-3])
    assert result.next_batch == 2 * batches(result)[-1]


def test_time_in_proportion_is_no_growth_from_the_start():
    assert batches(swept(lambda batch: 100.0 * batch)) == [1, 2, 4]


def test_one_level_doubling_is_not_the_end():
    times = {1: 100.0, 2: 200.0, 4: 200.0, 8: 400.0, 16: 800.0}
    result = swept(times.__getitem__)
    assert batches(result) == [1, 2, 4, 8, 16]
    assert result.ended == "saturated"


def test_a_fault_ends_it_and_keeps_what_was_found():
    def fails(batch):
        if batch == 8:
            raise MemoryError("bad alloc")
        return 100.0

    result = swept(fails)
    assert (batches(result), result.ended, result.fault, result.next_batch) == ([1, 2, 4], "fault", "bad alloc", 8)


def test_a_fault_of_another_kind_is_a_bug():
    with pytest.raises(ZeroDivisionError):
        swept(lambda _: 1 / 0)


def test_a_fixed_batch_is_the_only_one():
    result = swept(lambda _: 100.0, lambda _: "fixed", first=8)
    assert (batches(result), result.ended) == ([8], "fixed")


def limits(**options):
    values = {
        "budget_ns": 1e12,
        "repeats": 30,
        "least_ns": 0,
        "needed_bytes": lambda _: 0,
        "available_bytes": lambda: 100,
    }
    return Limits(**{**values, **options})


def test_the_next_batch_may_take_half_of_the_memory_left():
    tried = []

    def needed(batch):
        tried.append(batch)
        return 10 * batch

    result = swept(lambda _: 100.0, limits(needed_bytes=needed).exhausted)
    assert (batches(result), result.ended) == ([1, 2, 4], "memory")
    assert tried == [2, 4, 8]  # 8 would need 80 of the 100


def test_memory_that_grows_scarce_meanwhile():
    left = iter([1000, 1000, 10])
    result = swept(lambda _: 100.0, limits(needed_bytes=lambda _: 50, available_bytes=lambda: next(left)).exhausted)
    assert batches(result) == [1, 2, 4]


def test_all_calls_to_come_must_fit_the_budget():
    # 100 + 120 + 140 ns are known; 30 times these and twice the last, for the next, are 19 200 ns.
    times = {1: 100.0, 2: 120.0, 4: 140.0, 8: 160.0}
    result = swept(times.__getitem__, limits(budget_ns=19_199).exhausted)
    assert (batches(result), result.ended) == ([1, 2, 4], "budget")
    assert (
        len(
            swept(times.__getitem__, lambda s: limits(budget_ns=19_200).exhausted(s) if len(s.steps) < 4 else "x").steps
        )
        == 4
    )


def test_calls_however_short_take_the_time_of_their_blocks():
    result = swept(lambda _: 1.0, limits(least_ns=1000, budget_ns=4999).exhausted)
    assert (batches(result), result.ended) == ([1, 2, 4, 8], "budget")


def test_nothing_speaks_against_what_fits():
    result = Sweep(next_batch=1)
    result.steps.append(swept(lambda _: 5.0, lambda _: "fixed").steps[0])
    assert limits().exhausted(result) is None
