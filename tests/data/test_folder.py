import os
import shutil
from itertools import product

import numpy as np
import pytest
from PIL import Image

from kdbench.data import load, sample_form
from kdbench.data.folder import find_images
from kdbench.errors import DataMissingError, InputError


def paint(path, level=0, size=(8, 8), mode="RGB"):
    """Write an image of one level; `size` is width × height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level if mode in {"L", "1", "I;16"} else (level,) * len(mode)).save(path)


@pytest.fixture
def flat(tmp_path):
    """Make PATH/CLASS/*: ten cats of level 10 + i, five dogs of level 200 + i."""
    for i in range(10):
        paint(tmp_path / "cat" / f"{i}.png", 10 + i)
    for i in range(5):
        paint(tmp_path / "dog" / f"{i}.PNG", 200 + i)
    return tmp_path


@pytest.fixture
def parted(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(("ant", "bee")):
            for i in range(count):
                paint(tmp_path / part / name / f"{i}.png", 100 * number + i)
    return tmp_path


def test_a_fifth_of_each_class_becomes_the_test_part(flat):
    loaded = load(f"folder:{flat}")
    assert loaded.class_names == ("cat", "dog")
    assert np.bincount(loaded.train.labels).tolist() == [8, 4]
    assert np.bincount(loaded.test.labels).tolist() == [2, 1]
    levels = np.concatenate([loaded.train.inputs[:, 0, 0, 0], loaded.test.inputs[:, 0, 0, 0]])
    assert sorted(levels.tolist()) == [*range(10, 20), *range(200, 205)]
    for part in (loaded.train, loaded.test):
        assert ((part.inputs[:, 0, 0, 0] >= 200) == (part.labels == 1)).all()
    assert np.array_equal(load(f"folder:{flat}", parts=("test",)).test.inputs, loaded.test.inputs)


def test_train_and_test_folders(parted):
    (parted / "val" / "cow").mkdir(parents=True)
    (parted / "notes.txt").write_text("not a class")
    (parted / "train" / "ant" / ".hidden.png").write_bytes(b"")
    paint(parted / "train" / "ant" / ".thumbnails" / "0.png", 99)
    loaded = load(f"folder:{parted}")
    assert loaded.class_names == ("ant", "bee")
    assert loaded.input_shape == (3, 8, 8)
    assert loaded.train.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]
    assert loaded.test.labels.tolist() == [0, 0, 1, 1]
    assert (loaded.mean, loaded.std) == ((), ())
    assert "mean and std are fitted to what is trained on" in loaded.source


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        for i in range(2):
            paint(tmp_path / name / f"{i}.png")
    assert load(f"folder:{tmp_path}").class_names == ("bus", "train")


def test_a_test_folder_alone(parted):
    shutil.rmtree(parted / "train")
    loaded = load(f"folder:{parted}", parts=("test",))
    assert len(loaded.test) == 4
    assert "mean" not in loaded.source
    with pytest.raises(DataMissingError, match="no train part"):
        load(f"folder:{parted}")


def test_only_the_requested_part_is_opened(parted):
    (parted / "train" / "ant" / "0.png").write_bytes(b"cut short")
    assert len(load(f"folder:{parted}", parts=("test",)).test) == 4
    with pytest.raises(InputError, match=r"0\.png is not a readable image"):
        load(f"folder:{parted}")


def last(samples):
    return np.arange(len(samples))[-2:]


def test_only_picked_images_are_opened(parted):
    whole = load(f"folder:{parted}", parts=("train",)).train
    for unread in ("ant/0", "ant/1", "ant/2", "bee/0"):
        (parted / f"train/{unread}.png").write_bytes(b"no image")
    picked = load(f"folder:{parted}", parts=("train",), pick=last).train
    assert picked.samples.tolist() == [4, 5]
    assert picked.labels.tolist() == [1, 1]
    assert np.array_equal(picked.inputs, whole.inputs[4:])


def test_picked_grey_images_of_a_coloured_set_are_coloured(tmp_path):
    for number, mode in enumerate(("RGB", "L", "L")):
        paint(tmp_path / "train/a" / f"{number}.png", 9, mode=mode)
    assert load(f"folder:{tmp_path}", parts=("train",), pick=last).train.inputs.shape == (2, 3, 8, 8)


def test_folders_are_read_as_torchvision_reads_them(parted):
    from torchvision.datasets import ImageFolder

    paint(parted / "test" / "ant" / "deep" / "deeper" / "9.png", 9)
    paint(parted / "test" / "ant" / "7.jpg", 7)
    (parted / "test" / "ant" / "notes.txt").write_text("no image")
    loaded = load(f"folder:{parted}", parts=("test",))
    expected = ImageFolder(parted / "test")
    assert loaded.test.labels.tolist() == expected.targets
    levels = [np.asarray(image)[0, 0, 0] for image, _ in expected]
    assert loaded.test.inputs[:, 0, 0, 0].tolist() == levels
    assert loaded.notes == ("1 files are not images and were left out; 6 images were read",)


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("0", "1", "10", "2"):
        for i in range(2):
            paint(tmp_path / name / f"{i}.png", int(name))
    loaded = load(f"folder:{tmp_path}")
    assert loaded.class_names == ("0", "1", "2", "10")
    levels = dict(zip(loaded.train.labels.tolist(), loaded.train.inputs[:, 0, 0, 0].tolist(), strict=True))
    assert levels == {0: 0, 1: 1, 2: 2, 3: 10}


def test_a_class_may_be_empty(parted):
    (parted / "test" / "bee" / "0.png").unlink()
    (parted / "test" / "bee" / "1.png").unlink()
    loaded = load(f"folder:{parted}", parts=("test",))
    assert loaded.class_names == ("ant", "bee")
    assert loaded.test.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("modes", "channels"),
    [(("L", "L"), 1), (("1", "L"), 1), (("L", "RGB"), 3), (("RGBA", "RGB"), 3), (("P", "RGB"), 3)],
)
def test_grey_stays_grey_only_if_all_are(tmp_path, modes, channels):
    for number, mode in enumerate(modes):
        for i in range(2):
            path = tmp_path / f"{number}" / f"{i}.png"
            paint(path, 255, mode="RGB" if mode == "P" else mode)
            if mode == "P":
                Image.open(path).convert("P").save(path)
    loaded = load(f"folder:{tmp_path}")
    assert loaded.input_shape == (channels, 8, 8)
    assert loaded.train.inputs.min() == 255


def test_colours_and_rows_lie_where_they_belong(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    (tmp_path / "one").mkdir()
    for i in range(2):
        Image.fromarray(pixels).save(tmp_path / "one" / f"{i}.png")
    assert np.array_equal(load(f"folder:{tmp_path}").train.inputs[0].transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm"])
def test_endings(tmp_path, ending):
    for i in range(2):
        paint(tmp_path / "a" / f"{i}.{ending}", 128)
    images = load(f"folder:{tmp_path}").train.inputs
    assert np.abs(images.astype(int) - 128).max() <= 2


def test_resize_and_crop_bring_all_to_one_size(tmp_path):
    for i, size in enumerate([(30, 20), (20, 50), (64, 64)]):
        paint(tmp_path / "a" / f"{i}.png", size=size)
    assert load(f"folder:{tmp_path}", resize=16, crop=12).input_shape == (3, 12, 12)


def test_different_sizes_are_refused_with_the_way_out(tmp_path):
    paint(tmp_path / "a" / "first.png", size=(30, 20))
    paint(tmp_path / "a" / "second.png", size=(20, 50))
    with pytest.raises(InputError, match=r"first\.png gives 20×30.*second\.png gives 50×20") as caught:
        load(f"folder:{tmp_path}")
    assert "data.resize" in caught.value.hint
    with pytest.raises(InputError, match=r"first\.png: a crop of 24"):
        load(f"folder:{tmp_path}", crop=24)


def test_an_unreadable_image_is_named(flat):
    whole = (flat / "cat" / "3.png").read_bytes()
    for content in (b"", b"text", whole[: len(whole) - 30]):
        (flat / "cat" / "3.png").write_bytes(content)
        with pytest.raises(InputError, match=r"cat.3\.png is not a readable image"):
            load(f"folder:{flat}")


def test_sixteen_bits_are_refused(tmp_path):
    for i in range(2):
        paint(tmp_path / "a" / f"{i}.png", 40_000, mode="I;16")
    with pytest.raises(InputError, match="8 bits"):
        load(f"folder:{tmp_path}")


def test_folders_that_are_no_set(tmp_path):
    with pytest.raises(DataMissingError):
        load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="no class folders"):
        load(f"folder:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        load(f"folder:{tmp_path}")
    paint(tmp_path / "empty" / "only.png")
    with pytest.raises(InputError, match="too small"):
        load(f"folder:{tmp_path}")


def test_a_part_of_another_name_is_not_taken_for_the_only_class(parted):
    shutil.rmtree(parted / "train")
    (parted / "test").rename(parted / "val")
    with pytest.raises(InputError) as caught:
        load(f"folder:{parted}")
    assert f"name folder:{parted / 'val'}; " in caught.value.hint
    assert load(f"folder:{parted / 'val'}").class_names == ("ant", "bee")
    (parted / "val").rename(parted / "test")
    assert len(load(f"folder:{parted}", parts=("test",)).test) == 4


@pytest.mark.parametrize("names", [("Training", "Testing"), ("seg_train", "seg_test"), ("holdout", "val", "val2")])
def test_parts_of_other_names_are_not_taken_for_classes(tmp_path, names):
    for name, class_name, number in product(names, ("ant", "bee"), range(3)):
        paint(tmp_path / name / class_name / f"{number}.png")
    with pytest.raises(InputError, match=f"holds the folders {', '.join(sorted(names))}, in which") as caught:
        load(f"folder:{tmp_path}")
    assert f"rename two of them to {tmp_path / 'train'} and " in caught.value.hint
    assert load(f"folder:{tmp_path / names[0]}").class_names == ("ant", "bee")


@pytest.mark.parametrize("names", [("cat", "dog"), ("Test", "valley")])
def test_classes_may_have_their_images_in_folders(tmp_path, names):
    for name, number in product(names, range(2)):
        paint(tmp_path / name / "more" / f"{number}.png")
    assert load(f"folder:{tmp_path}").class_names == names


def test_an_only_class_may_have_images_in_folders_beside_its_own(tmp_path):
    for name in ("0.png", "more/1.png"):
        paint(tmp_path / "cat" / name)
    assert load(f"folder:{tmp_path}").class_names == ("cat",)


@pytest.mark.parametrize("closed", ["", "cat", "cat/more"])
def test_a_folder_that_cannot_be_read_is_an_error_not_an_empty_class(flat, monkeypatch, closed):
    paint(flat / "cat" / "more" / "x.png")
    scandir = os.scandir

    def refusing(path):
        if str(path) == str(flat / closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(os, "listdir", lambda path: [entry.name for entry in refusing(path)])
    for look in (load, sample_form):
        with pytest.raises(InputError, match=r"cannot be searched for images: .*Permission denied") as caught:
            look(f"folder:{flat}")
        assert str(flat / closed) in caught.value.message


def test_a_class_only_the_test_part_has_is_refused(parted):
    paint(parted / "test" / "cow" / "0.png")
    with pytest.raises(InputError, match="cow is a class that the training part does not have"):
        load(f"folder:{parted}")


def test_a_class_the_test_part_lacks_is_none_the_worse(parted):
    paint(parted / "train" / "cow" / "0.png")
    class_names, listings = find_images(parted)
    assert class_names == ("ant", "bee", "cow")
    assert set(listings["test"].labels.tolist()) == {0, 1}


def test_a_part_that_is_not_wanted_may_hold_anything(parted):
    for image in (parted / "train").rglob("*.png"):
        image.unlink()
    loaded = load(f"folder:{parted}", parts=("test",))
    assert (loaded.class_names, len(loaded.test)) == (("ant", "bee"), 4)
    with pytest.raises(InputError, match="holds no images"):
        load(f"folder:{parted}")


def test_a_link_that_leads_back_ends(flat):
    (flat / "cat" / "more").mkdir()
    paint(flat / "cat" / "more" / "x.png", 30)
    (flat / "cat" / "more" / "back").symlink_to(flat / "cat")
    (flat / "cat" / "more" / "self").symlink_to(".")
    (flat / "dog" / "cats").symlink_to(flat / "cat" / "more")  # a link elsewhere is read, as before
    _, listings = find_images(flat)
    counts = sum(np.bincount(listing.labels) for listing in listings.values())
    assert counts.tolist() == [11, 5 + 11]
