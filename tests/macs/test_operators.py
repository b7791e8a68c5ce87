import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kdbench.macs.operators import einsum_macs


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 30),
        ("ij,jk", [(2, 3), (3, 5)], 30),
        ("b h i d, b h j d -> b h i j", [(1, 2, 7, 4), (1, 2, 9, 4)], 2 * 7 * 9 * 4),
        ("bij,bjk->bik", [(1, 2, 3), (8, 3, 5)], 8 * 30),
        ("...ij,...jk->...ik", [(2, 2, 3), (2, 3, 5)], 2 * 30),
        ("...ij,jk", [(7, 4, 2, 3), (3, 5)], 7 * 4 * 30),
        ("...ij,...jk->...ik", [(7, 1, 2, 3), (4, 3, 5)], 7 * 4 * 30),
        ("ii,ij->j", [(3, 3), (3, 5)], 15),
        ("ij,k->k", [(2, 3), (5,)], 5),  # i and j are summed first
        ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)], 30 + 2 * 5 * 7),
        ("ij->ji", [(2, 3)], 0),
        ("ii", [(3, 3)], 0),
    ],
)
def test_macs_are_the_product_of_the_indices_of_each_contraction(equation, shapes, macs):
    assert einsum_macs(equation, shapes) == macs
    torch.einsum(equation, *(torch.zeros(shape) for shape in shapes))  # an equation that torch takes, too


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,bjk->bik", [(4, 2, 3), (4, 3, 5)]),
        ("ij,jk,kl->il", [(2, 3), (3, 5), (5, 7)]),
        ("bhid,bhjd,bhjv->bhiv", [(2, 2, 7, 4), (2, 2, 9, 4), (2, 2, 9, 3)]),
        ("ij,kj,lk,ml->im", [(2, 3), (4, 3), (5, 4), (6, 5)]),
    ],
)
def test_torch_contracts_from_left_to_right_too(equation, shapes, monkeypatch):
    monkeypatch.setattr(torch.backends.opt_einsum, "enabled", False)
    with FlopCounterMode(display=False) as counter:
        torch.einsum(equation, *(torch.zeros(shape) for shape in shapes))
    assert einsum_macs(equation, shapes) == counter.get_total_flops() / 2  # it counts a MAC as two


def test_a_path_is_followed():
    shapes = [(2, 3), (3, 5), (5, 7)]
    assert einsum_macs("ij,jk,kl->il", shapes, [(1, 2), (0, 1)]) == 3 * 5 * 7 + 2 * 3 * 7


@pytest.mark.parametrize(
    ("equation", "shapes"), [("ij,jk->ik", [(2, 3)]), ("ij,jk->ik", [(2, 3, 4), (3, 5)]), ("i...j->i", [(3,)])]
)
def test_an_equation_that_does_not_fit_has_no_count(equation, shapes):
    assert einsum_macs(equation, shapes) is None
