"""`log=` and `--log` from end to end: what each tracker's own client finds, offline, after a measurement."""

import pytest
from wandb_files import named, runs_of, started, summary_of

import kdbench
from kdbench.cli.main import main
from kdbench.errors import InputError
from kdbench.workflows.stages.log import facts_of, ratios_of, values_of

TRACKERS = ("mlflow", "tensorboard", "wandb")
MODELS = ("teacher", "student")


@pytest.fixture(scope="module", autouse=True)
def _offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
            patch.delenv(name, raising=False)
        patch.setenv("WANDB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["python", "command"])
def run(request, workplace, tmp_path_factory):
    """The results of a measurement that all trackers logged."""
    files, out = [str(workplace / f"{model}.onnx") for model in MODELS], tmp_path_factory.mktemp("logged") / "run"
    if request.param == "python":
        return kdbench.bench(files, data="digits", measure={"times": False}, log=TRACKERS, out=out)
    options = ("--data", "digits", "--no-times", "--log", ",".join(TRACKERS), "--out", str(out), "--quiet")
    assert main(["bench", *files, *options]) == 0
    return kdbench.Results.read(out)


@pytest.fixture(scope="module")
def values(run):
    """The values and ratios of each model, as the record has them."""
    return {model: values_of(run.record, model) | ratios_of(run.record, model) for model in MODELS}


def test_mlflow_has_a_run_of_each_model(run, values):
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.folder / 'tracking/mlflow/mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("bench").experiment_id])
    assert {one.info.run_name: one.data.metrics for one in runs} == values
    for one in runs:
        facts = facts_of(run.record, run.record.cards[one.info.run_name])
        assert one.data.params == {key: str(value) for key, value in facts.items()}
        assert one.info.status == "FINISHED"


def test_tensorboard_has_the_final_values(run, values):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for model, expected in values.items():
        reader = EventAccumulator(str(run.folder / "tracking" / "tensorboard" / model))
        reader.Reload()
        scalars = {tag: reader.Scalars(tag)[-1].value for tag in reader.Tags()["scalars"]}
        assert scalars == {f"final/{name}": pytest.approx(value) for name, value in expected.items()}


def test_wandb_has_them_in_the_summary_of_an_offline_run(run, values):
    pytest.importorskip("wandb")
    runs = {started(one).display_name: one for one in runs_of(run.folder / "tracking" / "wandb")}
    assert runs.keys() == values.keys()
    for model, expected in values.items():
        assert summary_of(runs[model]).items() >= expected.items()
        assert named(started(runs[model]).config.update)["model.sha256"] == run.record.cards[model].sha256


def test_a_tracker_that_there_is_not_is_refused_before_anything_is_measured(workplace, tmp_path):
    with pytest.raises(InputError, match="unknown tracker 'mlfow'"):
        kdbench.bench(workplace / "student.onnx", data="digits", log="mlfow", out=tmp_path / "run")
    with pytest.raises(InputError, match="unknown tracker 'mlfow'"):
        kdbench.Study.from_toml(workplace / "study.toml").run(tmp_path / "run", log=["mlfow"])
    assert not (tmp_path / "run").exists()
