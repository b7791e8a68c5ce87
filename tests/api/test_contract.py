"""What is public: its names and signatures, its docstrings with examples that run, and what importing it loads.

A change here is a change for users: add names freely, rename or remove none without a deprecation.
"""

import doctest
import inspect
import subprocess
import sys
from functools import cached_property

import pytest

import kdbench
from kdbench.api import PUBLIC_MEMBERS
from kdbench.api.display import ShownFigure, ShownTable

VALUES = {"KdbenchError", *PUBLIC_MEMBERS}
STORED = {"read": "(path)", "to_json": "(self)", "write": "(self, path)"}
INPUTS = (
    "data=None, data_root=None, download=False, accuracy=True, models={}, scale=None, mean=None, std=None, "
    "channel_order=None, colour=None, layout=None, size=None, resize=None, crop=None, resize_mode=None, crop_pct=None, "
    "interpolation=None, antialias=None, fill=None, input_scale=None, input_zero_point=None, geometry=None, "
    "data_layout=None, channel_axis=None, output=None, labels=None, torchvision=None"
)
SIGNATURES = {
    "bench": "(paths=(), *, measure=None, teacher=None, torch=(), weights=(), out=None, targets=(), log=(), "
    f"name='bench', progress=None, {INPUTS})",
    "compare": "(base, new, *, models=None, metrics=(), thresholds=None, remeasure=False, measure=None, data=None, "
    "inputs=None, out=None, progress=None)",
    "judge": "(run, target, models=None)",
    "load_recipe": "(name_or_path='digits', overrides=())",
    "run": "(recipe='digits', out=None, *, resume=False, targets=(), log=(), progress=None, command='')",
    "sweep": "(recipe='digits', out=None, *, axes=None, seeds=None, goal=None, trials=None, on='local', "
    "measure_on=None, resume=False, targets=(), log=(), progress=None, command='')",
    "time_callable": "(fn, inputs=None, *, against=None, budget_s=20.0, sessions=8, precision=0.05, progress=None)",
    "train": "(recipe, out=None, *, resume=False, progress=None)",
    "CallableTimes.find": "(self, metric, function=None)",
    "CallableTimes.median": "property",
    "Results.find": "(self, model, metric, **axes)",
    "Results.models": "property",
    "Results.plot": "(self, name='accuracy_latency')",
    "Results.ratio": "(self, student, metric='latency_ratio', **axes)",
    "Results.read": "(run)",
    "Results.record": "property",
    "Results.table": "(self, name='summary')",
    "Results.to_frame": "(self, kind='measurements')",
    "Results.verdicts": "property",
    "Study.from_dict": "(content)",
    "Study.from_toml": "(name_or_path)",
    "Study.override": "(self, values)",
    "Study.run": "(self, out=None, *, resume=False, targets=(), log=(), progress=None)",
    "Study.train": "(self, out=None, *, resume=False, progress=None)",
    "Comparison.exit_code": "property",
    "Comparison.regressions": "property",
    "ModelCard.outputs": "property",
    "Recipe.hash": "(self)",
    "RunRecord.cards": "property",
    "RunRecord.find": "(self, model, metric, **axes)",
    "RunRecord.find_pair": "(self, student, metric, **axes)",
    "RunRecord.hash": "(self)",
    "Verdict.exit_code": "property",
    "Verdict.nearest": "property",
    "Verdict.outcome": "property",
    **{
        f"{kind}.{name}": text
        for kind in ("Comparison", "ModelCard", "RunRecord", "Verdict")
        for name, text in STORED.items()
    },
    "losses.attention": "(student_maps, teacher_maps)",
    "losses.cross_entropy": "(student_logits, labels, label_smoothing=0.0)",
    "losses.dkd": "(student_logits, teacher_logits, labels, temperature=4.0, *, alpha=1.0, beta=8.0)",
    "losses.hint": "(student_features, teacher_features)",
    "losses.kd": "(student_logits, teacher_logits, temperature=4.0, *, standardize=False)",
    "losses.mean_squared_error": "(outputs_of_student, targets)",
    "losses.multi_teacher": "(student_logits, teacher_logits, temperature=4.0)",
    "losses.mutual": "(own_logits, peer_logits, temperature=1.0)",
    "losses.rkd_angle": "(student_features, teacher_features)",
    "losses.rkd_distance": "(student_features, teacher_features)",
}
SHOWN = {"ShownFigure": ShownFigure, "ShownTable": ShownTable}  # what public functions return
FUNCTIONS = [name for name, signature in SIGNATURES.items() if signature != "property"]
CLASSES = [*VALUES, *SHOWN, "CallableTimes", "Results", "Study", "SweepResults"]


def public(name):
    first, *rest = name.split(".")
    value = SHOWN[first] if first in SHOWN else getattr(kdbench, first)
    for part in rest:
        value = getattr(value, part)
    return value


def example(name):
    """Return the example in a docstring, as a test."""
    text = inspect.getdoc(public(name))
    return doctest.DocTestParser().get_doctest(text, {"kdbench": kdbench, "__name__": "example"}, name, None, None)


def members(owner):
    names = owner.__all__ if inspect.ismodule(owner) else vars(owner)
    return {
        name for name in names if not name.startswith("_") and name not in getattr(owner, "__dataclass_fields__", ())
    }


def written(value):
    if isinstance(value, property | cached_property):
        return "property"
    signature = inspect.signature(value)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def test_names_and_signatures():
    top = set(kdbench.__all__) - VALUES - {"__version__"}
    owners = {name for name in top if inspect.isclass(public(name)) or inspect.ismodule(public(name))} - {"judge"}
    named = (top - owners) | {f"{owner}.{member}" for owner in owners for member in members(public(owner))}
    named |= {f"{value}.{member}" for value, chosen in PUBLIC_MEMBERS.items() for member in chosen}
    assert {name: written(public(name)) for name in sorted(named)} == dict(sorted(SIGNATURES.items()))


@pytest.mark.parametrize("name", [*FUNCTIONS, *sorted(CLASSES), "ShownFigure.save"])
def test_examples_run(name, workplace, monkeypatch, request):
    if name in {"run", "sweep", "Study.run", "SweepResults"}:
        request.getfixturevalue("short_run")  # the example of `bench` has processes and figures
    monkeypatch.chdir(workplace)
    test = example(name)
    assert test.examples, f"{name} has no example"
    warnings = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=warnings.append)
    assert not warnings, "".join(warnings)


def test_the_example_of_a_class_uses_every_property():
    properties = {name for name, signature in SIGNATURES.items() if signature == "property"}
    properties |= {f"ShownFigure.{name}" for name, value in vars(ShownFigure).items() if isinstance(value, property)}
    unused = []
    for name in properties:
        owner, _, member = name.partition(".")
        if f".{member}" not in "".join(one.source for one in example(owner).examples):
            unused.append(name)
    assert not unused


def test_a_function_and_a_package_of_one_name_are_both_there():
    program = (
        "import kdbench\n"
        "first = kdbench.judge\n"
        "from kdbench.judge.readiness import candidates\n"
        "import inspect\n"
        "print(callable(first), callable(kdbench.judge), list(inspect.signature(kdbench.judge).parameters))\n"
        "print(inspect.getdoc(kdbench.judge) == inspect.getdoc(first))\n"
        "import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True ['run', 'target', 'models']", "True", "False"]
