"""What `--on slurm:…` says, and what Slurm is asked before anything starts."""

import pytest
from workflows.sweeping.execution.slurm.fake_slurm import Slurm as Fake

from kdbench.errors import InputError
from kdbench.workflows.sweeping.engines import connected
from kdbench.workflows.sweeping.execution.schedule import Task
from kdbench.workflows.sweeping.execution.slurm.options import options_of
from kdbench.workflows.sweeping.execution.slurm.requests import require_capacity, require_commands

NODES = [{"name": "a", "partition": "cpu", "cpus": 2, "features": ["slow"]}]
TRAIN, MEASURE = Task("kd", "train", cpus=2), Task("measure kd", "measure")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    def make(**limits):
        one = Fake.made(tmp_path / "slurm", NODES, **limits)
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)

    return make


def test_options_are_read(monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "physics")
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")
    one = options_of("slurm:partition=cpu,time=90min,mem=1.5GB,jobs=100", "pi5")
    assert one.places == {"account": "physics", "partition": "cpu"}
    assert one.measuring == {"account": "physics", "partition": "cpu", "constraint": "pi5"}
    assert (one.time_min, one.memory_mb, one.jobs) == (90, 1500, 100)
    assert options_of("slurm", None).measuring == {}


@pytest.mark.parametrize(
    ("on", "measure_on"),
    [
        ("slurm:gres=gpu", None),
        ("slurm:partition", None),
        ("slurm:partition=a\n#SBATCH --wait", None),
        ("slurm:time=soon", None),
        ("slurm:time=0", None),
        ("slurm:mem=8", "color=red"),
        ("slurm:jobs=0", None),
        ("slurm", "pi 5"),
    ],
)
def test_other_options_are_refused(on, measure_on):
    with pytest.raises(InputError):
        options_of(on, measure_on)


def test_what_could_never_run_is_refused_with_slurms_reason(fake):
    fake()
    require_capacity([TRAIN, MEASURE], options_of("slurm:partition=cpu", "slow"))
    with pytest.raises(InputError, match=r"kd \(.*cpus-per-task=64.*\): .*not available"):
        require_capacity([Task("kd", "train", cpus=64)], options_of("slurm", None))
    with pytest.raises(InputError, match="invalid partition specified: gpu"):
        require_capacity([TRAIN], options_of("slurm:partition=gpu", None))
    with pytest.raises(InputError, match=r"measure kd \(.*constraint=pi5.*exclusive"):
        require_capacity([MEASURE], options_of("slurm", "pi5"))
    with pytest.raises(InputError) as error:
        require_capacity([TRAIN, MEASURE], options_of("slurm", None))
    assert "--measure-on" in error.value.hint


def test_a_machine_without_slurm_is_refused(monkeypatch, fake):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="there is no sbatch"), connected("slurm"):
        pass


def test_a_cluster_that_does_not_tell_what_became_of_jobs_is_refused(fake):
    fake(accounting=False)
    with pytest.raises(InputError, match="accounting storage is disabled"):
        require_commands()
