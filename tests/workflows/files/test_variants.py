import pytest

from kdbench.compress.kernels import Kernels
from kdbench.workflows.files.variants import kernel_warning

INTEGER, FLOAT = ("a", "QLinearConv", 30), ("b", "FusedConv", 10)


@pytest.mark.parametrize(
    ("kernels", "part"),
    [(Kernels((INTEGER, FLOAT), 0), "1 of 2 layers, 75 % of its multiply"), (Kernels((FLOAT,), 7), "7 casts")],
)
def test_what_does_not_run_as_it_is_stored_is_told(kernels, part):
    warning = kernel_warning("m", kernels)
    assert (warning.code, warning.model) == ("kernels", "m")
    assert part in warning.message


@pytest.mark.parametrize("layers", [(INTEGER,), (FLOAT,), ()])
def test_files_that_run_as_they_are_stored_have_no_warning(layers):
    assert kernel_warning("m", Kernels(layers, 0)) is None
