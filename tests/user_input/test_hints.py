import pytest

from kdbench.user_input import hints


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("a longer --budget and a smaller --precision", "a longer measure.budget_s and a smaller measure.precision"),
        ("--energy=full would settle it", "--set measure.energy=full would settle it"),
        ("measure with --provider=cpu --threads=1", "measure with --set measure.provider=cpu --set measure.threads=1"),
        ("--estimate-energy gives an estimate", "--estimate-energy gives an estimate"),
        ("give their names with --labels FILE", "give their names with --labels FILE"),
        ("kdbench run … --resume", "kdbench run … --resume"),
    ],
)
def test_hints_name_the_keys_of_a_recipe(hint, expected):
    assert hints.as_recipe_keys(hint) == expected


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("add --data NAME, or --no-accuracy", 'add data="NAME", or accuracy=False'),
        ("--scale 1 leaves them unchanged", "scale=1.0 leaves them unchanged"),
        ("--size 8x6, or data with --data npz:a.npz.", 'size=(8, 6), or data with data="npz:a.npz".'),
        ("a longer --budget, or --budget=2m", 'a longer measure={"budget_s": …}, or measure={"budget_s": 120.0}'),
        ("--fill a.b=0 or --mean a.b=…", 'models={"a.b": {"fill": 0}} or models={"a.b": {"mean": …}}'),
        ("name them with --labels FILE", "name them with labels=[…]"),
        ("choose another --out", "choose another out=…"),
        ("--data-layout=vectors reads numbers", 'data_layout="vectors" reads numbers'),
        ("--scale 1 --input-scale 1 feed them", "scale=1.0, input_scale=1.0 feed them"),
        (
            "--mean m=0 --std m=1, or --scale n=1",
            'models={"m": {"mean": (0.0,), "std": (1.0,)}}, or models={"n": {"scale": 1.0}}',
        ),
        ("--mean m=0 --std n=1", 'models={"m": {"mean": (0.0,)}}, models={"n": {"std": (1.0,)}}'),
        (
            "for example --threads 1,4, or --cores 0",
            'for example measure={"threads": (1, 4)}, or measure={"cores": (0,)}',
        ),
        ("then --torch pkg.nets:make --weights w.pth", 'then torch=["pkg.nets:make"], weights=["w.pth"]'),
        ("name it: --torch ID=pkg.nets:make", 'name it: torch=["ID=pkg.nets:make"]'),
        ("choose another name: --name its.new", 'choose another name: name="its.new"'),
        (
            "python -m tf2onnx.convert --saved-model m --output m.onnx",
            "python -m tf2onnx.convert --saved-model m --output m.onnx",
        ),
        ("leave it out with --model", "leave it out with models=…"),
        ("match them with --model BASE=NEW", 'match them with models={"BASE": "NEW"}'),
        ("choose the metrics with --metric: macs, top1", "choose the metrics with metrics=…: macs, top1"),
        ("measure both with --remeasure, or --threshold", "measure both with remeasure=True, or thresholds=…"),
        ("train with --epochs 3", "train with --epochs 3"),
        ("kdbench bench MODEL --no-accuracy shows it", "kdbench bench MODEL --no-accuracy shows it"),
    ],
)
def test_hints_name_the_arguments_of_python(hint, expected):
    assert hints.as_arguments(hint) == expected


def test_hints_name_the_argument_that_has_all_inputs():
    hint = 'inputs={"scale": 1.0} with data="NAME", or inputs={"models": {"m": {"scale": 1.0}}}; measure={"threads": …}'
    assert hints.as_arguments("--scale 1 with --data NAME, or --scale m=1; --threads", "inputs") == hint
    hint = 'inputs={"mean": …, "std": …, "scale": 1.0} and measure={"sessions": 3, "budget_s": 60.0}'
    assert hints.as_arguments("--mean, --std, --scale 1 and --sessions=3 --budget=60s", "inputs") == hint
