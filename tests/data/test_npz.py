from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdbench.data import load
from kdbench.data.reading.labels import as_labels
from kdbench.data.reading.layouts import as_images
from kdbench.errors import DataMissingError, InputError

GREY = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(tmp_path, **arrays):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **arrays)
    return f"npz:{path}"


def test_both_parts(tmp_path):
    loaded = load(saved(tmp_path, x_train=GREY, y_train=LABELS, x_test=GREY[:2], y_test=LABELS[:2]))
    assert loaded.input_shape == (1, 8, 8)
    assert (len(loaded.train), len(loaded.test), loaded.classes) == (6, 2, 3)
    assert (loaded.mean, loaded.std) == ((), ())
    assert "mean and std are fitted to what is trained on" in loaded.source


def test_images_and_labels_are_a_test_part(tmp_path):
    name = saved(tmp_path, images=GREY, labels=LABELS)
    loaded = load(name, parts=("test",))
    assert loaded.train is None
    assert np.array_equal(loaded.test.inputs[:, 0], GREY)
    assert "mean" not in loaded.source
    with pytest.raises(DataMissingError, match="no train part"):
        load(name)


def test_names_do_not_depend_on_the_parts(tmp_path):
    name = saved(tmp_path, x_train=GREY, y_train=LABELS, x_test=GREY[:2], y_test=LABELS[:2])
    whole, alone = load(name), load(name, parts=("test",))
    assert alone.class_names == whole.class_names
    assert alone.train is None


@pytest.mark.parametrize(("x", "y"), [("X", "y"), ("x", "y"), ("X_test", "y_test")])
def test_other_names_of_a_test_part(tmp_path, x, y):
    loaded = load(saved(tmp_path, **{x: GREY, y: LABELS}), parts=("test",))
    assert np.array_equal(loaded.test.inputs[:, 0], GREY)


def test_rows_of_features(tmp_path):
    assert load(saved(tmp_path, X=GREY.reshape(6, 64), y=LABELS), parts=("test",)).input_shape == (1, 1, 64)


def test_floats_stay_what_they_are_where_that_is_asked_for(tmp_path):
    floats = np.random.default_rng(0).normal(size=(6, 8, 8)) / 1000
    name = saved(tmp_path, images=floats, labels=LABELS)
    loaded = load(name, parts=("test",), floats=True)
    assert loaded.test.inputs.dtype == np.float32
    np.testing.assert_array_equal(loaded.test.inputs[:, 0], floats.astype(np.float32))
    with pytest.raises(InputError, match="floats from -"):
        load(name, parts=("test",))


def test_a_part_that_is_not_used_need_not_be_sound(tmp_path):
    name = saved(tmp_path, x_train=GREY - 1000.0, y_train=LABELS, x_test=GREY, y_test=LABELS)
    assert len(load(name, parts=("test",)).test) == 6
    with pytest.raises(InputError, match="floats from -1000"):
        load(name)


def test_class_names(tmp_path):
    names = np.array(["cat", "dog", "owl", "yak"])
    assert load(saved(tmp_path, images=GREY, labels=LABELS, class_names=names), parts=("test",)).class_names == (
        "cat", "dog", "owl", "yak",
    )  # fmt: skip
    with pytest.raises(InputError, match="class_names"):
        load(saved(tmp_path, images=GREY, labels=LABELS, class_names=names[:2]), parts=("test",))


def test_without_names_the_classes_are_only_inferred(tmp_path):
    alone = load(saved(tmp_path, images=GREY, labels=LABELS), parts=("test",))
    assert (alone.classes, alone.known_classes) == (3, None)
    names = np.array(["cat", "dog", "owl", "yak"])
    assert load(saved(tmp_path, images=GREY, labels=LABELS, class_names=names), parts=("test",)).known_classes == 4


def test_class_names_that_would_need_unpickling_are_refused(tmp_path):
    names = np.array(["cat", "dog", "owl"], dtype=object)
    with pytest.raises(InputError, match="not a readable"):
        load(saved(tmp_path, images=GREY, labels=LABELS, class_names=names), parts=("test",))


def test_resize(tmp_path):
    assert load(saved(tmp_path, images=GREY, labels=LABELS), parts=("test",), resize=4).input_shape == (1, 4, 4)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 4]), st.just(5), st.just(6))))
def test_every_layout_is_the_same_image(images):
    assert np.array_equal(as_images(images, "x"), images)
    last = as_images(images.transpose(0, 2, 3, 1), "x")
    assert np.array_equal(last, images)
    assert last.flags.c_contiguous
    assert np.array_equal(as_images(images[:, 0], "x"), images[:, :1])


@given(hnp.arrays(np.uint8, (2, 3, 3)), st.sampled_from([np.float32, np.float64]))
def test_floats_give_their_levels_back(images, dtype):
    assert np.array_equal(as_images((images / 255).astype(dtype), "x")[:, 0], images)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 32, 3), np.uint8), "could be"),
        (np.zeros((2, 5, 32, 7), np.uint8), "has no axis"),
        (np.zeros(64, np.uint8), "shape"),
        (np.zeros((0, 8, 8), np.uint8), "shape"),
        (np.zeros((2, 8, 8), np.int64), "int64"),
        (np.full((2, 8, 8), 255.0), "from 255 to 255"),
        (np.full((2, 8, 8), -0.5), "from -0.5"),
        (np.full((2, 8, 8), np.nan), "nan"),
    ],
)
def test_images_of_unclear_form_or_range_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        as_images(images, "x")


def test_labels_in_a_column():
    assert as_labels(np.array([[1], [0]], np.uint8), "y").tolist() == [1, 0]


@pytest.mark.parametrize(
    "labels",
    [np.eye(3, dtype=np.int64), np.array([0.0, 1.0]), np.array([-1, 0]), np.array([0, 10**9]), np.array(["a"])],
    ids=["one-hot", "float", "negative", "huge", "text"],
)
def test_labels_that_are_no_class_numbers_are_refused(labels):
    with pytest.raises(InputError):
        as_labels(labels, "y")


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_test": GREY},
        {"x_test": GREY, "y_test": LABELS[:3]},
        {"x_test": GREY, "y_test": LABELS.astype(object)},
        {"something": GREY},
        {},
    ],
    ids=["no labels", "lengths differ", "pickled", "other names", "empty"],
)
def test_an_archive_that_is_no_set_is_refused(tmp_path, arrays):
    with pytest.raises(InputError):
        load(saved(tmp_path, **arrays), parts=("test",))


@pytest.mark.parametrize("content", [b"", b"plain text", b"PK\x03\x04 and then nothing", b"\x80\x04N."])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable"):
        load(f"npz:{path}", parts=("test",))


@given(cut=st.floats(0, 0.999), flip=st.integers(0, 10**6))
def test_damage_is_an_input_error_or_seen_in_nothing(tmp_path_factory, cut, flip):
    path = tmp_path_factory.mktemp("npz") / "set.npz"
    np.savez_compressed(path, x_test=GREY, y_test=LABELS)
    content = bytearray(path.read_bytes())
    content[flip % len(content)] ^= 0xFF
    for damaged in (bytes(content), bytes(content[: int(cut * len(content))])):
        path.write_bytes(damaged)
        with suppress(InputError):
            load(f"npz:{path}", parts=("test",))


def test_a_single_array_and_no_file(tmp_path):
    np.save(tmp_path / "x.npy", GREY)
    with pytest.raises(InputError, match="single array"):
        load(f"npz:{tmp_path / 'x.npy'}")
    with pytest.raises(DataMissingError):
        load(f"npz:{tmp_path / 'none.npz'}")


class TestTargets:
    def test_floats_are_the_targets_of_a_regression(self, tmp_path):
        x, y = np.zeros((5, 8, 8), np.uint8), np.array([0.5, -2, 1e5, 3, 4])
        dataset = load(saved(tmp_path, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2, None].astype(np.float32)))
        assert (dataset.task, dataset.outputs, dataset.class_names) == ("regression", 1, ("y",))
        assert dataset.train.labels.dtype == np.float32
        np.testing.assert_array_equal(dataset.train.labels[:, 0], y.astype(np.float32))
        assert dataset.test.labels.shape == (2, 1)

    def test_several_numbers_a_sample_may_have_names(self, tmp_path):
        rows, x = np.random.default_rng(0).normal(size=(4, 3)), np.zeros((4, 8, 8), np.uint8)
        assert load(saved(tmp_path, x_test=x, y_test=rows), parts=("test",)).class_names == ("y0", "y1", "y2")
        named = saved(tmp_path, x_test=x, y_test=rows, target_names=np.array(["a", "b", "c"]))
        assert load(named, parts=("test",)).class_names == ("a", "b", "c")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"y_test": np.eye(3)[[0, 2, 1, 0]]}, "one-hot"),
            ({"y_test": np.array([1.0, np.nan, 0, 0])}, "NaN"),
            ({"y_test": np.array([1.0, 1e300, 0, 0])}, "too large"),
            ({"y_test": np.zeros((4, 2, 2))}, "shape"),
            ({"y_test": np.arange(4.0), "class_names": np.array(["a"])}, "class_names"),
            ({"y_test": np.arange(4.0), "target_names": np.array(["a", "b"])}, "target_names"),
            ({"y_test": np.arange(4.0), "x_train": np.zeros((4, 8, 8), np.uint8), "y_train": np.arange(4)}, "integers"),
        ],
    )
    def test_what_is_no_target_is_refused(self, tmp_path, arrays, message):
        with pytest.raises(InputError, match=message):
            load(saved(tmp_path, **{"x_test": np.zeros((4, 8, 8), np.uint8), **arrays}), parts=("test",))
