import pytest

from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.cluster.nodes import MEASURE, Node, alive_nodes, require_capacity
from kdbench.workflows.sweeping.execution.schedule import Task

TRAINING = Task("student", "train", cpus=2)
MEASUREMENT = Task("measure all", "measure")
WORKERS = [Node("1", "a", cpus=4), Node("2", "b", cpus=2, gpus=1)]
DEVICE = Node("3", "pi", measuring=1, labels={"device": "pi5", "ray.io/node-id": "3"})


def listed(id_, alive=True, labels=None, **resources):
    return {
        "NodeID": id_,
        "Alive": alive,
        "NodeManagerHostname": f"host-{id_}",
        "Resources": resources,
        "Labels": labels,
    }


def test_only_living_nodes_count():
    nodes = alive_nodes([
        listed("1", CPU=4.0, GPU=1.0, memory=1e9),
        listed("2", alive=False, CPU=64.0),
        listed("3", labels={"device": "pi5"}, **{MEASURE: 1.0}),
    ])  # fmt: skip
    assert nodes == [Node("1", "host-1", cpus=4, gpus=1), Node("3", "host-3", measuring=1, labels={"device": "pi5"})]


def test_what_fits_is_admitted():
    require_capacity([TRAINING, Task("large", "train", cpus=2, gpus=1), MEASUREMENT], [*WORKERS, DEVICE], "device=pi5")


@pytest.mark.parametrize(
    ("task", "message", "hint"),
    [
        (Task("s", "train", cpus=8), "s takes 8 CPUs: no node has that much; the largest have 4 CPUs", "threads = 4"),
        (Task("s", "train", cpus=4, gpus=1), "4 CPUs and 1 GPU: .* 4 CPUs, or 2 CPUs and 1 GPU", "larger nodes"),
        (Task("s", "score", cpus=5), "s takes 5 CPUs", "larger nodes"),
    ],
)
def test_more_than_any_node_has_is_refused(task, message, hint):
    with pytest.raises(InputError, match=message) as error:
        require_capacity([TRAINING, task], WORKERS, None)
    assert hint in error.value.hint


def test_a_cluster_without_cores_trains_nothing():
    with pytest.raises(InputError, match="none has CPUs"):
        require_capacity([TRAINING], [DEVICE], None)


def test_measuring_needs_a_node_for_it():
    with pytest.raises(InputError, match="no node of the cluster measures") as error:
        require_capacity([TRAINING, MEASUREMENT], WORKERS, None)
    assert f'{{"{MEASURE}": 1}}' in error.value.hint
    require_capacity([TRAINING], WORKERS, None)


@pytest.mark.parametrize(
    ("label", "chosen"), [(None, True), ("device=pi5", True), ("pi5", True), ("device=pi4", False)]
)
def test_a_label_chooses_among_the_nodes_that_measure(label, chosen):
    assert DEVICE.measures(label) is chosen
    assert not Node("1", "a", cpus=4, labels={"device": "pi5"}).measures(label)


def test_the_labels_there_are_are_named():
    with pytest.raises(InputError, match="no node that measures has the label pi4") as error:
        require_capacity([MEASUREMENT], [*WORKERS, DEVICE], "pi4")
    assert "device=pi5" in error.value.hint
    assert "ray.io" not in error.value.hint
