import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.data.augment import Views, apply_views, augment, draw_views


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(batch, channels, height, width):
    return torch.randint(256, (batch, channels, height, width), dtype=torch.uint8, generator=generator(1))


def one_by_one(images, views, pad):
    """Pad, crop and flip each image with torchvision's functions."""
    from torchvision.transforms import functional

    height, width = images.shape[2:]
    made = []
    for image, row, column, mirrored in zip(images, *views, strict=True):
        cropped = functional.crop(functional.pad(image, [pad] * 4), int(row), int(column), height, width)
        made.append(functional.hflip(cropped) if mirrored else cropped)
    return torch.stack(made)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 5), st.booleans(),
    st.integers(0, 2**32),
)  # fmt: skip
def test_against_torchvision_image_by_image(batch, channels, height, width, pad, flip, seed):
    images = noise(batch, channels, height, width)
    views = draw_views(batch, pad, flip, generator(seed))
    result = apply_views(images, views, pad)
    assert result.dtype == torch.uint8
    assert torch.equal(result, one_by_one(images, views, pad))
    assert torch.equal(result, augment(images, pad, flip, generator(seed)))


def test_images_in_channels_last_order():
    images = noise(4, 3, 8, 8)
    views = draw_views(4, 2, True, generator())
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(apply_views(last, views, 2), apply_views(images, views, 2))


def test_every_offset_is_equally_likely():
    count, pad = 81_000, 4
    views = draw_views(count, pad, True, generator())
    # 81 offsets, 1000 expected of each, standard deviation 31: five of them either way.
    counts = torch.bincount(views.row * 9 + views.column, minlength=81)
    assert counts.shape == (81,)
    assert counts.min() > 840
    assert counts.max() < 1160
    assert abs(views.mirrored.double().mean() - 0.5) < 0.01


def test_without_flip_nothing_is_mirrored_and_offsets_stay_the_same():
    with_flip, without = (draw_views(100, 4, flip, generator()) for flip in (True, False))
    assert not without.mirrored.any()
    assert torch.equal(with_flip.row, without.row)


def test_views_of_chosen_samples():
    views = draw_views(10, 4, True, generator())
    chosen = views.of(torch.tensor([7, 2]))
    assert isinstance(chosen, Views)
    assert chosen.row.tolist() == [views.row[7], views.row[2]]


def test_views_without_change():
    images = noise(5, 3, 6, 6)
    assert torch.equal(augment(images, 0, False, generator()), images)
