"""The configurations that docs/sweeps.md shows: valid, and of clusters that a sweep can run on."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import typer
import yaml

from kdbench.cli.application import application
from kdbench.errors import InputError
from kdbench.workflows.sweeping.execution.cluster.nodes import MEASURE, Node, require_capacity
from kdbench.workflows.sweeping.execution.schedule import Task

PAGE = Path(__file__).parents[5] / "docs" / "sweeps.md"
BLOCKS = [
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
]
TASKS = [Task("student", "train", cpus=2), Task("measure", "measure")]


@pytest.fixture
def of_ray():
    (block_of_cluster,) = (block for block in BLOCKS if "cluster_name" in block)
    return block_of_cluster


@pytest.fixture
def of_kubernetes():
    (block_of_job,) = (block for block in BLOCKS if block.get("kind") == "RayJob")
    return block_of_job


def test_the_cluster_of_ray_up_has_rays_schema(of_ray):
    ray = find_spec("ray")
    if ray is None:
        pytest.skip("needs ray: pip install 'kdbench[cluster]'")
    schema = Path(ray.submodule_search_locations[0]) / "autoscaler" / "ray-schema.json"
    jsonschema.validate(of_ray, json.loads(schema.read_text()))


def test_a_sweep_can_run_on_the_cluster_of_ray_up(of_ray):
    kinds = of_ray["available_node_types"]
    assert of_ray["head_node_type"] in kinds
    assert sum(kind.get("max_workers", 0) for kind in kinds.values()) <= of_ray["max_workers"]
    nodes = []
    for name, kind in kinds.items():
        offers = kind["resources"]
        if kind.get("min_workers") or name == of_ray["head_node_type"]:
            nodes.append(Node(name, name, offers["CPU"], 0, offers.get(MEASURE, 0), kind.get("labels", {})))
    require_capacity(TASKS, nodes, "c7i-metal")


def test_the_error_that_is_shown_is_the_one_that_comes():
    with pytest.raises(InputError) as error:
        require_capacity([Task("student", "train", cpus=64)], [Node("1", "a", cpus=8)], None)
    assert f"error: {error.value.message}\nhint: {error.value.hint}\n" in PAGE.read_text()


def test_the_job_of_kubernetes_has_what_kuberay_requires(of_kubernetes):
    assert of_kubernetes["apiVersion"] == "ray.io/v1"
    spec = of_kubernetes["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert len({group["groupName"] for group in spec["workerGroupSpecs"]}) == len(spec["workerGroupSpecs"])
    for group in spec["workerGroupSpecs"]:
        assert 0 < group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values()), "KubeRay takes texts alone"
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["image"]
            (mount,) = container["volumeMounts"]
            assert mount["name"] in volumes
            assert f"--out {mount['mountPath']}/" in of_kubernetes["spec"]["entrypoint"]


def test_a_sweep_can_run_on_the_cluster_of_kubernetes(of_kubernetes):
    nodes = []
    for group in of_kubernetes["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        start = group["rayStartParams"]
        (container,) = group["template"]["spec"]["containers"]
        cpus = float(start.get("num-cpus", container["resources"]["limits"]["cpu"]))
        resources = json.loads(json.loads(start.get("resources", '"{}"')))  # quoted once more, for a shell
        nodes.append(Node(group["groupName"], "pod", cpus, measuring=resources.get(MEASURE, 0)))
    require_capacity(TASKS, nodes, None)


def test_the_command_of_the_job_parses(of_kubernetes):
    _, name, *arguments = shlex.split(of_kubernetes["spec"]["entrypoint"])
    command = typer.main.get_command(application()).commands[name]
    command.make_context(name, arguments, resilient_parsing=False)
