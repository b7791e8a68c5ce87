import os

import pytest

from kdbench.machine.system_files import NumberFile, is_tegra, text


def test_a_number_is_read_anew_each_time(tmp_path):
    file = tmp_path / "energy_uj"
    file.write_text("12\n")
    number = NumberFile(file)
    assert number.read() == 12
    file.write_text("-7\n")
    assert number.read() == -7
    number.close()


def test_no_file_and_no_number(tmp_path):
    with pytest.raises(FileNotFoundError):
        NumberFile(tmp_path / "none")
    (tmp_path / "empty").write_text("")
    with pytest.raises(ValueError, match="invalid literal"):
        NumberFile(tmp_path / "empty").read()


def test_a_number_that_nobody_holds_is_closed(tmp_path):
    (tmp_path / "energy_uj").write_text("12\n")
    number = NumberFile(tmp_path / "energy_uj")
    descriptor = number._descriptor
    assert os.fstat(descriptor).st_size == 3
    del number
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_text_of_a_device_tree(tmp_path):
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert text(tmp_path / "model") == "Raspberry Pi 5 Model B Rev 1.0"
    assert text(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("file", "says", "tegra"),
    [
        ("etc/nv_tegra_release", "# R36", True),
        ("proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0", True),
        ("proc/device-tree/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0", False),
        ("etc/os-release", "Ubuntu", False),
    ],
)
def test_a_tegra_by_either_sign(tmp_path, file, says, tegra):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(says)
    assert is_tegra(tmp_path) is tegra
