"""How a split is cut into batches, and each batch into the parts of the processes that compute it."""

from typing import NamedTuple


class Part(NamedTuple):
    """What one of several processes computes of a batch: the positions `start` to before `stop` of the epoch's order.

    It answers for `counted` of the batch's samples. The mean over all processes of `weight` times the mean over its own
    part is the mean over the whole batch.
    """

    start: int
    stop: int
    counted: int
    weight: float


def batch_bounds(count: int, batch: int, *, drop_last: bool, join_single: bool) -> list[tuple[int, int]]:
    """Return first and past-the-last position of each batch of `count` samples.

    A left-over of fewer than `batch` samples is left out with `drop_last`; a single one is, with `join_single`,
    joined to the batch before it.
    """
    stops = list(range(batch, count + 1, batch))
    if count % batch and not drop_last:
        if join_single and count % batch == 1 and stops:
            stops.pop()
        stops.append(count)
    return list(zip([0, *stops], stops, strict=False))


def part_of(start: int, stop: int, rank: int, processes: int) -> Part:
    """Return what process `rank` of `processes` takes of the batch `start` to before `stop`.

    Parts are of equal size, give or take one. A batch of fewer than two samples to each process, such as a left-over,
    is computed by all of them and counted by the first: batch norm has no variance of one, and to join it to another
    batch would make the training depend on the number of processes.
    """
    whole = stop - start
    if processes > 1 and whole < 2 * processes:
        counted = whole if rank == 0 else 0
    else:
        start, stop = start + whole * rank // processes, start + whole * (rank + 1) // processes
        counted = stop - start
    return Part(start, stop, counted, counted * processes / whole)
