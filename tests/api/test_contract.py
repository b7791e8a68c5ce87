"""What is public: its names and signatures, its docstrings with examples that run, and what importing it loads.

A change here is a change for users: add names freely, rename or remove none without a deprecation.
"""

import doctest
import inspect
import subprocess
import sys

import pytest

import kdbench

VALUES = {
    "Comparison", "KdbenchError", "Measure", "Measurement", "ModelCard", "Pair", "Recipe", "RunRecord", "Verdict",
}  # fmt: skip
INPUTS = (
    "data=None, data_root=None, download=False, accuracy=True, models={}, scale=None, mean=None, std=None, "
    "channel_order=None, colour=None, layout=None, size=None, resize=None, crop=None, resize_mode=None, crop_pct=None, "
    "interpolation=None, antialias=None, fill=None, input_scale=None, input_zero_point=None, geometry=None, "
    "data_layout=None, channel_axis=None, output=None, labels=None, torchvision=None"
)
SIGNATURES = {
    "bench": "(paths=(), *, measure=None, teacher=None, torch=(), weights=(), out=None, targets=(), name='bench', "
    f"progress=None, {INPUTS})",
    "compare": "(base, new, *, models=None, metrics=(), thresholds=None, remeasure=False, measure=None, data=None, "
    "out=None, progress=None)",
    "judge": "(run, target, models=None)",
    "load_recipe": "(name_or_path='digits', overrides=())",
    "run": "(recipe='digits', out=None, *, resume=False, targets=(), progress=None, command='')",
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
    "Study.run": "(self, out=None, *, resume=False, targets=(), progress=None)",
    "Study.train": "(self, out=None, *, resume=False, progress=None)",
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
EXAMPLES = [name for name, signature in SIGNATURES.items() if signature != "property"]


def public(name):
    value = kdbench
    for part in name.split("."):
        value = getattr(value, part)
    return value


def members(owner):
    names = owner.__all__ if inspect.ismodule(owner) else vars(owner)
    return {
        name for name in names if not name.startswith("_") and name not in getattr(owner, "__dataclass_fields__", ())
    }


def written(value):
    if isinstance(value, property):
        return "property"
    signature = inspect.signature(value)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def test_names_and_signatures():
    top = set(kdbench.__all__) - VALUES - {"__version__"}
    owners = {name for name in top if inspect.isclass(public(name)) or inspect.ismodule(public(name))} - {"judge"}
    named = (top - owners) | {f"{owner}.{member}" for owner in owners for member in members(public(owner))}
    assert {name: written(public(name)) for name in sorted(named)} == dict(sorted(SIGNATURES.items()))


@pytest.mark.parametrize("name", [*EXAMPLES, "CallableTimes", "KdbenchError", "Measure", "Results", "Study"])
def test_examples_run(name, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    function = public(name)
    if name == "judge":
        from kdbench.api.judging import judge as function
    globs = {"kdbench": kdbench, "__name__": "example"}
    (test,) = (doctest.DocTestParser().get_doctest(inspect.getdoc(function), globs, name, None, None),)
    assert test.examples, f"{name} has no example"
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


def test_a_function_and_a_package_of_one_name_are_both_there():
    program = (
        "import kdbench\n"
        "first = kdbench.judge\n"
        "from kdbench.judge.readiness import candidates\n"
        "import inspect\n"
        "print(callable(first), callable(kdbench.judge), list(inspect.signature(kdbench.judge).parameters))\n"
        "import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True True ['run', 'target', 'models']", "False"]
