import subprocess
import sys

import pytest

from kdbench import data
from kdbench.errors import DataMissingError, InputError


def test_known_names():
    assert set(data.DATASETS.names()) >= {
        "cifar10", "cifar100", "digits", "fashion_mnist", "folder:PATH", "mnist", "npz:PATH",
    }  # fmt: skip


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(InputError, match="cifra10") as caught:
        data.load("cifra10")
    assert "cifar10" in caught.value.hint


def test_without_a_root_the_error_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    with pytest.raises(DataMissingError) as caught:
        data.load("mnist")
    assert "KDBENCH_DATA" in caught.value.hint
    assert "data.root" in caught.value.hint


def test_the_argument_goes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KDBENCH_DATA", "/from/environment")
    with pytest.raises(DataMissingError, match="/from/environment"):
        data.load("mnist")
    with pytest.raises(DataMissingError, match=str(tmp_path)):
        data.load("mnist", root=tmp_path)


@pytest.mark.parametrize("option", ["resize", "crop"])
@pytest.mark.parametrize("pixels", [0, 70_000])
def test_no_pixels_and_too_many_are_no_size(option, pixels):
    with pytest.raises(InputError, match=f"data.{option} is {pixels}") as refused:
        data.load("digits", **{option: pixels})
    assert "from 1 to 65,536" in refused.value.hint


def test_looking_up_names_imports_nothing_heavy():
    code = (
        "import sys; from kdbench import data; import kdbench.data.batches; data.DATASETS.names();"
        "sys.exit(', '.join({'torch', 'torchvision', 'sklearn', 'PIL', 'lightning_fabric'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
