import json

import pytest

from benchmarks.energy import page
from benchmarks.energy.validate import _off
from kdbench.errors import InputError
from kdbench.worker.energy_window import Span, Window


def model(**changes):
    return {
        "model": "resnet20",
        "batch": 8,
        "periods_s": [0.1],
        "minute": {
            "rate_per_s": 2000.0,
            "by_source": {"nvml, gpu0.board": {"energy_j": 0.05, "half_width_j": 0.0005, "power_w": 100.0}},
            "asked_w": 98.0,
            "asked": 1200,
        },
        "idle_w": [[50.0], [50.5], [51.0]],
        "lengths": [
            {"length_s": length, "taken_s": length, "off": off} for length, off in ((1.0, 0.03), (10.0, 0.004))
        ],
        **changes,
    }


def figures(*models, scale=1.0):
    return {
        "settings": {"provider": "cuda", "runtime": "onnxruntime", "batch": 8, "scale": scale},
        "environment": {"host": {"gpu": "NVIDIA Something", "cpu": "another"}, "git_commit": "abc"},
        "sources": [{"name": "nvml", "scope": "gpu0.board", "detail": "its counter"}],
        "models": list(models or [model()]),
    }


@pytest.fixture
def written(tmp_path):
    def write(content):
        (tmp_path / "validation-gpu.json").write_text(json.dumps(content))
        page.write(tmp_path)
        return (tmp_path / "README.md").read_text()

    return write


def test_the_page(written):
    text = written(figures())
    assert "## NVIDIA Something" in text
    assert "| `resnet20` | 50.0 mJ ± 1.0 % | 2,000 /s | 100 W | 98.0 W (1200 readings) | +2.0 % |" in text
    assert "| `resnet20` | 50.5 W | 0.99 % | +2.0 % |" in text
    assert "| `resnet20` | 3.0 % | 0.40 % | met: 10 s |" in text
    assert "trial" not in text


def test_a_goal_that_was_missed_is_said(written):
    missed = [{"length_s": 10.0, "taken_s": 10.0, "off": 0.02}]
    assert "**missed**" in written(figures(model(lengths=missed)))


def test_a_trial_is_called_one(written):
    assert "**A trial**" in written(figures(scale=0.01))


def test_without_a_second_reading_nothing_is_compared(written):
    minute = {**model()["minute"], "asked_w": None, "asked": 0}
    assert "n/a (no second reading) | – |" in written(figures(model(minute=minute)))


def test_without_figures_there_is_no_page(tmp_path):
    with pytest.raises(InputError, match="holds no validation"):
        page.write(tmp_path)


def test_how_far_windows_are_off():
    def of(joules):
        return Window(10, (Span(joules, 1_000_000_000),))

    length = _off(1.0, [of(100.0), of(100.0)], [of(100.0 + step) for step in range(20)])
    assert length == {"length_s": 1.0, "taken_s": 1.0, "off": pytest.approx(0.18)}  # 19 of 20 are no further


def test_a_longer_window_that_is_worse_again_counts():
    assert page._smallest([(1.0, 0.001), (2.0, 0.05), (5.0, 0.009), (10.0, 0.002)]) == 5.0
    assert page._smallest([(1.0, 0.001), (10.0, 0.05)]) is None
