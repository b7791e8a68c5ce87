"""Jetsons' power monitors, in trees of our own that copy those of the boards."""

import os
import threading

import pytest

from kdbench.meters.jetson import Jetson
from kdbench.meters.meter import Available, MeterError, Part, Rank, Unavailable

DRIVERS = "sys/bus/i2c/drivers"


class Board:
    """A Jetson's file system, and a clock in ns that moves while somebody waits."""

    def __init__(self, root):
        self.root = root
        self.now = 0
        tree = root / "proc/device-tree"
        tree.mkdir(parents=True)
        (tree / "compatible").write_bytes(b"nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0")

    def hwmon(self, address, channels):
        """Add a monitor as of JetPack 5: (label, millivolts, milliamperes) by channel; returns its folder."""
        folder = self.root / DRIVERS / f"ina3221/{address}/hwmon/hwmon{address[-1]}"
        folder.mkdir(parents=True)
        for number, (label, millivolts, milliamperes) in enumerate(channels, start=1):
            (folder / f"in{number}_label").write_text(f"{label}\n")
            (folder / f"in{number}_enable").write_text("1\n")
            (folder / f"in{number}_input").write_text(f"{millivolts}\n")
            (folder / f"curr{number}_input").write_text(f"{milliamperes}\n")
        (folder / "in7_label").write_text("sum of shunt voltages\n")
        (folder / "in7_input").write_text("760\n")
        return folder

    def iio(self, address, channels):
        """Add a monitor as of JetPack 4: (label, milliwatts) by channel; returns its folder."""
        folder = self.root / DRIVERS / f"ina3221x/{address}/iio:device{address[-1]}"
        folder.mkdir(parents=True)
        for number, (label, milliwatts) in enumerate(channels):
            (folder / f"rail_name_{number}").write_text(f"{label}\n")
            (folder / f"in_power{number}_input").write_text(f"{milliwatts}\n")
        return folder

    def wait(self, seconds):
        self.now += round(seconds * 1e9)


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


@pytest.fixture
def make(board):
    """Make sources for the board, which take their readings themselves."""
    made = []

    def make(**options):
        options = {"clock": lambda: board.now, "pause": board.wait, "background": False, **options}
        made.append(Jetson(board.root, **options))
        return made[-1]

    yield make
    for source in made:
        source.close()


def orin_nx(board):
    return board.hwmon("1-0040", [("VDD_IN", 5000, 2000), ("VDD_CPU_GPU_CV", 5000, 900), ("VDD_SOC", 5000, 400)])


def agx_orin(board):
    first = board.hwmon("1-0040", [("VDD_GPU_SOC", 20000, 300), ("VDD_CPU_CV", 20000, 150), ("VIN_SYS_5V0", 5000, 800)])
    second = board.hwmon("1-0041", [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 200), ("NC", 0, 0)])
    return first, second


def test_what_it_is():
    assert (Jetson.rank, Jetson.scope) == (Rank.BOARD, "module")
    assert Jetson.covers == {Part.CPU, Part.GPU, Part.REST}


def test_the_input_rail_alone_where_there_is_one(board, make):
    orin_nx(board)
    assert make().watts() == pytest.approx(10.0)
    assert make().available() == Available("VDD_IN")


def test_agx_orin_is_the_sum_of_its_inputs_without_memory_which_lies_behind_one(board, make):
    agx_orin(board)
    assert make().watts() == pytest.approx(6.0 + 3.0 + 4.0)
    assert make().available() == Available("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0")


def test_agx_xavier_is_the_sum_of_both_monitors(board, make):
    board.iio("1-0040", [("GPU", 463), ("CPU", 618), ("SOC", 2936)])
    board.iio("1-0041", [("CV", 0), ("VDDRQ", 309), ("SYS5V", 3306)])
    assert make().watts() == pytest.approx(7.632)


def test_nano_of_jetpack_4(board, make):
    board.iio("6-0040", [("POM_5V_IN", 1750), ("POM_5V_GPU", 40), ("POM_5V_CPU", 366)])
    assert make().watts() == pytest.approx(1.75)


def test_a_carrier_boards_rails_are_left_out(board, make):
    board.iio("0-0040", [("VDD_SYS_GPU", 77), ("VDD_SYS_SOC", 539), ("VDD_4V0_WIFI", 19)])
    board.iio("0-0041", [("VDD_IN", 2930), ("VDD_SYS_CPU", 539), ("VDD_SYS_DDR", 727)])
    board.iio("0-0042", [("VDD_MUX", 4100), ("VDD_5V0_IO_SYS", 900), ("VDD_3V3_SYS", 300)])
    assert make().watts() == pytest.approx(2.93)


def test_joules_are_the_power_over_time(board, make):
    folder = orin_nx(board)
    source = make()
    assert source.read() == (0, 0.0)
    board.wait(1)
    assert source.read() == (10**9, pytest.approx(10.0))
    (folder / "curr1_input").write_text("4000\n")
    board.wait(1)
    assert source.read()[1] == pytest.approx(10.0 + 15.0)


def test_a_rail_that_reads_below_nothing_does_not_spoil_the_sum(board, make):
    first, _ = agx_orin(board)
    (first / "curr1_input").write_text("-20\n")
    assert make().watts() == pytest.approx(-0.4 + 3.0 + 4.0)


@pytest.mark.parametrize("there", ["etc/nv_tegra_release", "proc/device-tree/compatible"])
def test_a_jetson_is_known_by_either_sign(board, make, there):
    orin_nx(board)
    (board.root / "proc/device-tree/compatible").unlink()
    assert make().available() == Unavailable("Jetson: not a Jetson", expected=False)
    (board.root / there).parent.mkdir(exist_ok=True)
    (board.root / there).write_text("nvidia,tegra234")
    assert isinstance(make().available(), Available)


def test_other_boards_with_such_a_monitor_are_no_jetsons(board, make):
    orin_nx(board)
    (board.root / "proc/device-tree/compatible").write_bytes(b"xlnx,zcu102\0")
    assert not make().available().expected


def test_no_monitor(make):
    state = make().available()
    assert state.reason == "Jetson: no power monitor"
    assert "modprobe" in state.hint


def test_rails_of_a_board_that_is_not_known(board, make):
    board.hwmon("1-0040", [("VDD_A", 5000, 100), ("VDD_B", 5000, 100), ("NC", 0, 0)])
    state = make().available()
    assert state.reason == "Jetson: rails unknown"
    assert "its monitors show VDD_A, VDD_B;" in state.hint
    with pytest.raises(MeterError, match="no power read"):
        make().watts()


@pytest.mark.parametrize("gone", ["curr2_input", "in2_label", "in2_input"])
def test_a_sum_that_lacks_a_rail_is_no_total(board, make, gone):
    first, _ = agx_orin(board)
    (first / gone).unlink()
    state = make().available()
    assert state.reason == "Jetson: rails unknown"
    assert "VDD_CPU_CV" not in state.hint.partition(";")[0]


def test_a_channel_that_is_switched_off_is_none(board, make):
    first, _ = agx_orin(board)
    (first / "in3_enable").write_text("0\n")
    assert make().available().reason == "Jetson: rails unknown"


def test_a_channel_without_a_switch_is_on(board, make):
    folder = orin_nx(board)
    (folder / "in1_enable").unlink()
    assert make().available() == Available("VDD_IN")


def test_files_that_may_not_be_read_come_with_the_remedy(board, make, monkeypatch):
    file = orin_nx(board) / "curr1_input"
    file.chmod(0)
    if os.geteuid() == 0:  # whom no mode stops
        opened = os.open

        def refuse(path, *args, **kwargs):
            if path == file:
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", refuse)
    state = make().available()
    assert state.reason == "Jetson: permission denied"
    assert state.hint.startswith("sudo chmod a+r ")
    assert str(file) in state.hint


@pytest.mark.parametrize(("content", "reason"), [("garbage", "unreadable"), ("", "unreadable"), ("0", "no power read")])
def test_what_a_monitor_says_has_to_be_power(board, make, content, reason):
    (orin_nx(board) / "curr1_input").write_text(content)
    assert make().available().reason == f"Jetson: {reason}"


def test_a_fault_midway(board, make):
    folder = orin_nx(board)
    source = make()
    source.read()
    (folder / "in1_input").write_text("")
    board.wait(1)
    with pytest.raises(MeterError, match=r"^Jetson: unreadable$"):
        source.read()


def test_a_clock_that_stands_still_proves_nothing(board, make):
    orin_nx(board)
    assert make(pause=lambda seconds: None).available().reason == "Jetson: counter does not advance"


def test_available_leaves_no_thread_and_nothing_counted(board):
    orin_nx(board)
    source = Jetson(board.root)
    assert isinstance(source.available(), Available)
    assert "kdbench-power" not in {thread.name for thread in threading.enumerate()}
    fresh = Jetson(board.root, background=False)
    assert fresh.read()[1] == 0.0
