"""The table of inputs: per model how images were fed, and who said so."""

from kdbench.report.tables.inputs import inputs
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Geometry, Preprocessing
from kdbench.results.records import Environment, RunRecord


def record(*preprocessings, kind="bench"):
    cards = tuple(
        ModelCard(
            id=f"m{number}", name=f"m{number}", role="student", file="m.onnx", sha256="0", input_shape=(3, 8, 8),
            classes=10, parameters=1, preprocessing=preprocessing,
        )
        for number, preprocessing in enumerate(preprocessings)
    )  # fmt: skip
    return RunRecord(kind=kind, name="r", title="", created="", command="", protocol={}, environment=ENVIRONMENT,
                     models=cards, measurements=(), pairs=())  # fmt: skip


ENVIRONMENT = Environment.model_construct()


def test_each_model_says_where_its_preprocessing_came_from():
    sources = {"mean": "m0.toml", "std": "m0.toml", "crop_pct": "config.json (timm)"}
    geometry = Geometry(resize=256, crop=(224, 224), interpolation="bicubic", colour="RGB")
    known = Preprocessing(mean=(0.5,), std=(0.25,), geometry=geometry, channel_order="BGR", sources=sources)
    table = inputs(record(known, Preprocessing()))
    assert [[cell.text for cell in row.cells[1:]] for row in table.rows] == [
        [
            "shorter side 256 (bicubic), centre 224×224, RGB",
            "scale 255, mean 0.5, std 0.25, BGR",
            "m0.toml: mean, std; config.json (timm): crop pct",
        ],
        ["as they are", "scale 255, mean 0, std 1", "nothing: defaults"],
    ]


def test_squashed_fitted_and_quantized():
    squashed = Preprocessing(
        geometry=Geometry(mode="squash", resize=(8, 9), antialias=False),
        input_scale=0.5, input_zero_point=-3, sources={"size": "options"},
    )  # fmt: skip
    fitted = Preprocessing(geometry=Geometry(mode="letterbox", resize=(8, 8)))
    first, second = ([cell.text for cell in row.cells] for row in inputs(record(squashed, fitted)).rows)
    assert first[1] == "squashed to 8×9 (bilinear, not smoothed)"
    assert "quantized with scale 0.5, zero point -3" in first[2]
    assert second[1] == "fitted into 8×8 (bilinear)"


def test_there_is_no_table_where_nobody_said_anything():
    assert not inputs(record(Preprocessing())).shown
