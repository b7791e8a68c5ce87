"""The search in the documentation, as it is written there, shortened."""

import re
from pathlib import Path

import pytest

from kdbench.distill.teaching import teachers
from kdbench.distill.training import fit

optuna = pytest.importorskip("optuna")

PAGE = Path(__file__).parent.parent.parent / "docs" / "search.md"


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return text


def shortened(text: str, **changes: str) -> str:
    for old, new in changes.values():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def test_trials_share_the_teacher_and_its_logits(tmp_path, monkeypatch):
    trained, filled = [], []
    real_fit, real_fill = fit.fit, teachers._fill
    monkeypatch.setattr(fit, "fit", lambda *a, **keys: (trained.append(keys["folder"].name), real_fit(*a, **keys))[1])
    monkeypatch.setattr(teachers, "_fill", lambda *a: (filled.append(1), real_fill(*a)))
    monkeypatch.chdir(tmp_path)
    recipe = shortened(
        block("toml"), epochs=("epochs = 20", "epochs = 1\nthreads = 1"), widths=("[64, 128, 256]", "[4, 8]")
    )
    Path("search.toml").write_text(recipe)
    script = shortened(block("python"), trials=("n_trials=20", "n_trials=2"))
    assert sum(bool(line.strip()) for line in script.splitlines()) <= 18
    names: dict = {}
    exec(script, names)
    exec(script, names)  # goes on
    assert trained == ["teacher", "trial-0", "trial-1", "trial-2", "trial-3"]
    assert len(filled) == 1
    assert [trial.state.name for trial in names["study"].trials] == ["COMPLETE"] * 4
    curves = [Path("runs/search/checkpoints", f"trial-{number}", "training.json").read_text() for number in range(4)]
    assert len(set(curves)) == 4, "the values of a trial reach its training"
