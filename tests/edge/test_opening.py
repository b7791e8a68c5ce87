"""What a device refuses to measure: a bundle of which any bit was changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kdbench.edge.device.opening import open_bundle
from kdbench.edge.exchange.archive import SUMS
from kdbench.edge.exchange.plan import MANIFEST
from kdbench.errors import InputError


@pytest.fixture
def bundle(measured: Path, tmp_path: Path) -> Path:
    left = shutil.ignore_patterns("work", "*.zip", "__pycache__")
    return Path(shutil.copytree(measured / "bundle", tmp_path / "bundle", ignore=left))


def test_no_bit_of_a_bundle_can_change(bundle):
    open_bundle(bundle)
    files = sorted(file for file in bundle.rglob("*") if file.is_file())
    rng = np.random.default_rng(0)
    chosen = [*rng.choice(np.array(files), 60).tolist(), *[bundle / SUMS] * 20, *[bundle / MANIFEST] * 20]
    for file in chosen:
        whole = file.read_bytes()
        changed = bytearray(whole or b"x")
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(changed))
        with pytest.raises(InputError):
            open_bundle(bundle)
        file.write_bytes(whole)
    open_bundle(bundle)


def test_a_file_that_is_missing_is_named(bundle):
    (bundle / "models" / "null.onnx").unlink()
    with pytest.raises(InputError, match=r"models/null\.onnx is missing"):
        open_bundle(bundle)


def test_a_folder_without_a_bundle_is_none(tmp_path):
    with pytest.raises(InputError, match="holds no readable bundle"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("content", [b"", b"def f(:\n", None])
@pytest.mark.parametrize("name", ["kdbench/errors.py", "kdbench/edge/device/opening.py"])
def test_damaged_code_does_not_run(bundle, name, content):
    if content is None:
        (bundle / name).unlink()
    else:
        (bundle / name).write_bytes(content)
    ended = subprocess.run(
        [sys.executable, "-P", "run.py"], cwd=bundle, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"error: {name} is not the file that the host packed\nhint: copy")
