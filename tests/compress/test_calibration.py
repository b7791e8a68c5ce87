import numpy as np
import pytest

from kdbench.compress.calibration import CalibrationChoice, labelled_sha256, samples_sha256
from kdbench.data import Split
from kdbench.errors import InputError

TRAINING = Split(np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1), np.zeros(60, np.int64))


def chosen(**choice):
    return CalibrationChoice(**choice).of(TRAINING).samples.tolist()


def test_a_choice_is_random_repeatable_and_grows():
    few, more, others = chosen(count=10), chosen(count=30), chosen(count=10, seed=1)
    assert few == chosen(count=10)
    assert few == sorted(few)
    assert set(few) < set(more)
    assert len(set(few)) == 10
    assert few not in ([*range(10)], others)


def test_the_hash_is_of_type_shape_and_values():
    images = TRAINING.inputs
    changed = images.copy()
    changed[0] += 1
    hashes = {samples_sha256(s) for s in (images, changed, images.reshape(30, 2, 1, 1), images.astype(np.float32))}
    assert len(hashes) == 4
    assert samples_sha256(images[::-1][::-1]) == samples_sha256(images)


def test_too_few_samples_and_parts_of_batches_are_refused():
    with pytest.raises(InputError, match="needs 61 training samples, and there are 60") as refused:
        CalibrationChoice(count=61).of(TRAINING)
    assert "--calibration-count 60" in refused.value.hint
    with pytest.raises(InputError, match="batches of 4") as refused:
        CalibrationChoice(count=10).of(TRAINING, 4)
    assert "--calibration-count 12" in refused.value.hint
    with pytest.raises(InputError, match="batches of 8") as refused:
        CalibrationChoice(count=60).of(TRAINING, 8)  # 64 are more than there are
    assert "--calibration-count 56" in refused.value.hint


def test_held_out_samples_are_others_and_the_same_from_what_was_picked():
    choice = CalibrationChoice(count=10)
    held_out = choice.held_out(TRAINING, 20)
    assert len(held_out) == 20
    assert set(held_out.samples).isdisjoint(chosen(count=10))
    picked = TRAINING.subset(choice.pick(20)(TRAINING.samples))
    assert set(picked.samples) == {*chosen(count=10), *held_out.samples}
    assert choice.of(picked).samples.tolist() == chosen(count=10)
    assert choice.held_out(picked, 20).samples.tolist() == held_out.samples.tolist()
    assert choice.held_out(picked, 7, 4).samples.size == 4
    assert choice.pick(20)(picked.samples).tolist() == [*range(30)]
    assert len(choice.held_out(TRAINING, 1000)) == 50
    assert len(choice.of_validation(TRAINING, 1000, 8)) == 56


def test_nothing_left_to_judge_on_is_refused():
    with pytest.raises(InputError, match="0 training samples remain") as refused:
        CalibrationChoice(count=60).held_out(TRAINING, 20)
    assert "--calibration-count" in refused.value.hint
    with pytest.raises(InputError, match=r"60 validation samples remain .* at least 64") as refused:
        CalibrationChoice(count=10).of_validation(TRAINING, 100, 64)
    assert "data.validation" in refused.value.hint
    for draw in (CalibrationChoice(count=10).held_out, CalibrationChoice(count=10).of_validation):
        with pytest.raises(InputError, match="on 4 samples, and the model takes batches of 8") as refused:
            draw(TRAINING, 4, 8)
        assert refused.value.hint == "set held_out_count to 8 or more"
        assert len(draw(TRAINING, 8, 8)) == 8
    with pytest.raises(InputError, match="needs 61"):
        CalibrationChoice(count=61).pick()(TRAINING.samples)


def test_labels_are_part_of_what_held_out_samples_are():
    other = Split(TRAINING.inputs, TRAINING.labels + 1)
    assert labelled_sha256(other) != labelled_sha256(TRAINING)
