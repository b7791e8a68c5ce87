from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kdbench.data.batches import batch_bounds, part_of


@given(st.integers(1, 300), st.integers(1, 64), st.booleans(), st.booleans())
def test_bounds(count, batch, drop_last, join_single):
    bounds = batch_bounds(count, batch, drop_last=drop_last, join_single=join_single)
    assert all(stop == start for (_, stop), (start, _) in pairwise(bounds))
    sizes = [stop - start for start, stop in bounds]
    assert set(sizes[:-1]) <= {batch}
    if drop_last:
        assert sum(sizes) == count - count % batch
    else:
        assert sum(sizes) == count
        assert len(sizes) == -(-count // batch) - (join_single and count > batch > 1 and count % batch == 1)
    if join_single and batch > 1 and count > 1:
        assert 1 not in sizes


def parts(start, stop, processes):
    return [part_of(start, stop, rank, processes) for rank in range(processes)]


@given(st.integers(0, 50), st.integers(1, 9), st.data())
def test_a_batch_is_shared_out_in_order_and_as_evenly_as_can_be(start, processes, data):
    size = data.draw(st.integers(2 * processes, 100))
    result = parts(start, start + size, processes)
    assert (result[0].start, result[-1].stop) == (start, start + size)
    assert all(part.stop == following.start for part, following in pairwise(result))
    sizes = [part.stop - part.start for part in result]
    assert max(sizes) - min(sizes) <= 1
    assert [part.counted for part in result] == sizes


@given(st.integers(2, 9), st.data())
def test_a_batch_too_small_to_share_is_computed_by_all_and_counted_once(processes, data):
    size = data.draw(st.integers(1, 2 * processes - 1))
    result = parts(7, 7 + size, processes)
    assert {(part.start, part.stop) for part in result} == {(7, 7 + size)}
    assert [part.counted for part in result] == [size] + [0] * (processes - 1)


@given(st.integers(1, 100), st.integers(1, 9), st.randoms())
def test_weighted_means_of_the_parts_have_the_mean_of_the_batch(size, processes, random):
    losses = [random.random() for _ in range(size)]
    means = [
        part.weight * sum(losses[part.start : part.stop]) / (part.stop - part.start)
        for part in parts(0, size, processes)
    ]
    assert abs(sum(means) / processes - sum(losses) / size) < 1e-12


def test_one_process_takes_everything():
    assert part_of(3, 4, 0, 1) == (3, 4, 1, 1.0)
