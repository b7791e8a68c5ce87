import pytest

from kdbench.measure.macs.einsum import einsum_macs


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 30),
        ("ij,jk", [(2, 3), (3, 5)], 30),
        ("b h i d, b h j d -> b h i j", [(1, 2, 7, 4), (1, 2, 9, 4)], 2 * 7 * 9 * 4),
        ("bij,bjk->bik", [(1, 2, 3), (8, 3, 5)], 8 * 30),
        ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], None),
        ("...ij,...jk->...ik", [(2, 2, 3), (2, 3, 5)], None),
        ("ii,ij->j", [(3, 3), (3, 5)], None),
        ("ij->ji", [(2, 3)], None),
    ],
)
def test_macs_are_the_product_of_all_indices(equation, shapes, macs):
    assert einsum_macs(equation, shapes) == macs
