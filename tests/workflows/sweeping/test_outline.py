from kdbench.workflows.sweeping.outline import Outline


def outline(**changes) -> Outline:
    known = {
        "points": 2,
        "axes": {"training.optimizer.lr": [0.001, 0.01]},
        "seeds": (0, 1),
        "models": 3,
        "trainings": 5,
        "trained": 1,
        "shared": ["teacher"],
        "logit_tables": 1,
        "distilled": 4,
        "data": "digits, 896 training samples",
        "timed": 2,
        "scored": 1,
        "at_once": 2,
        "training_s": 61.26,
        "measuring_s": 7.04,
        "reference": "teacher",
    }
    return Outline(**(known | changes))


def test_values_of_axes_are_not_rounded_in_json():
    values = [1e-4, {"name": "sgd", "betas": (0.9, 0.999)}]
    content = outline(axes={"training.optimizer": values}).to_json()
    assert content["axes"] == {"training.optimizer": [1e-4, {"name": "sgd", "betas": [0.9, 0.999]}]}
    assert (content["training_s"], content["measuring_s"]) == (61.3, 7.0)


def test_the_text_names_what_is_shared_and_what_is_done():
    lines = list(outline().lines())
    assert lines[0] == "sweep: 2 points (2 training.optimizer.lr), 2 seeds"
    assert lines[1] == "trainings: 5, 1 of them done; 2 at once"
    assert "shared by all points that need them: teacher" in lines
    assert "cached logits: 1 table at most, for 4 distilled trainings" in lines
