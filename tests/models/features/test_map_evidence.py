"""Which maps show the rows and columns of the image, and which arrange its places otherwise."""

import pytest
import torch
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models.features.layout_evidence import layouts_of
from kdbench.models.features.layouts import Layout, require_comparable

IMAGES = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8)


class Arranged(nn.Module):
    """Cells of 2×2 pixels with six channels, in an arrangement of their 4×4 places, before one layer on channels.

    Those of `fixed` size take one size of images alone, and show nothing by others.
    """

    def __init__(self, arrange, layer, *, fixed: bool) -> None:
        super().__init__()
        self.arrange, self.fixed = arrange, fixed
        self.patches, self.layer, self.head = nn.Conv2d(3, 6, 2, 2), layer, nn.Linear(6, 3)
        self.places = nn.Parameter(torch.randn(1, 6, 4, 4))

    def forward(self, images: Tensor) -> Tensor:
        cells = self.patches(images) + (self.places if self.fixed else 0)
        features = self.layer(self.arrange(cells))
        channel = 1 if isinstance(self.layer, nn.Conv2d) else 3
        return self.head(features.mean(dim=[axis for axis in (1, 2, 3) if axis != channel]))


def rows_and_columns(cells: Tensor) -> Tensor:
    return cells


def last(cells: Tensor) -> Tensor:
    return cells.permute(0, 2, 3, 1)


def columns_and_rows(cells: Tensor) -> Tensor:
    return cells.transpose(2, 3)


def windows(cells: Tensor) -> Tensor:
    """(B, windows, cells of each, C), as in NesT (Zhang et al. 2022)."""
    split = cells.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))  # (B, C, rows of windows, 2, columns of windows, 2)
    return split.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def patches_and_places(cells: Tensor) -> Tensor:
    """(B, C, cells of a window, windows), as in MobileViTv2 (Mehta & Rastegari 2022)."""
    return windows(cells).permute(0, 3, 2, 1)


def linear() -> nn.Module:
    return nn.Linear(6, 6)


def pointwise() -> nn.Module:
    return nn.Conv2d(6, 6, 1)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    ("arrange", "layer", "axis", "of_image"),
    [
        (rows_and_columns, pointwise, 1, True),
        (last, linear, 3, True),
        (columns_and_rows, pointwise, 1, False),
        (windows, linear, 3, False),
        (patches_and_places, pointwise, 1, False),
    ],
)
def test_only_rows_and_columns_of_the_image_are_its_map(arrange, layer, axis, of_image, fixed):
    torch.manual_seed(0)
    network = Arranged(arrange, layer(), fixed=fixed)
    assert layouts_of(network, ["layer"], IMAGES)["layer"] == Layout(channel_axis=axis, of_image=of_image)


def test_stated_axes_are_believed():
    network = Arranged(columns_and_rows, pointwise(), fixed=False)
    assert layouts_of(network, ["layer"], IMAGES, "NCHW")["layer"] == Layout(channel_axis=1)


def test_a_filter_that_slides_over_a_map_shows_that_it_is_one():
    network = Arranged(rows_and_columns, nn.Conv2d(6, 6, 3, padding=1), fixed=True)
    assert layouts_of(network, ["layer"], IMAGES)["layer"] == Layout(channel_axis=1)


MAPS, WINDOWS, TOKENS = Layout(1), Layout(1, of_image=False), Layout(2, grid=(4, 4))


@pytest.mark.parametrize(
    ("student", "teacher", "sizes"),
    [(MAPS, WINDOWS, (4, 4)), (WINDOWS, MAPS, (4, 4)), (TOKENS, WINDOWS, (16, 4)), (WINDOWS, WINDOWS, (4, 2))],
)
def test_other_arrangements_are_not_compared_place_by_place(student, teacher, sizes):
    features = [torch.zeros(2, 16, 5) if side is TOKENS else torch.zeros(2, 5, size, 4)
                for side, size in zip((student, teacher), sizes, strict=True)]  # fmt: skip
    with pytest.raises(InputError, match="not the rows and columns of the image"):
        require_comparable(*features, student, teacher)


def test_equal_arrangements_are_compared():
    assert require_comparable(torch.zeros(2, 5, 4, 4), torch.zeros(2, 6, 4, 4), WINDOWS, WINDOWS) is False
