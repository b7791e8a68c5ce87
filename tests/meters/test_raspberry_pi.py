"""A Raspberry Pi's firmware, whose answers are given here."""

import subprocess
import threading

import pytest

from kdbench.meters import raspberry_pi
from kdbench.meters.meter import Available, MeterError, Part, Rank, Unavailable
from kdbench.meters.raspberry_pi import RaspberryPi

# As a Raspberry Pi 5 Model B answers when idle.
IDLE = """\
 3V7_WL_SW_A current(0)=0.09466522A
   3V3_SYS_A current(1)=0.08197812A
   1V8_SYS_A current(2)=0.15029320A
  DDR_VDD2_A current(3)=0.00390372A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.20299340A
    0V8_SW_A current(6)=0.30546610A
  VDD_CORE_A current(7)=1.11625000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00018315A
   0V8_AON_A current(16)=0.00274725A
      HDMI_A current(22)=0.01660560A
 3V7_WL_SW_V volt(8)=3.62925200V
   3V3_SYS_V volt(9)=3.31652900V
   1V8_SYS_V volt(10)=1.79877700V
  DDR_VDD2_V volt(11)=1.10146400V
  DDR_VDDQ_V volt(12)=0.60622650V
   1V1_SYS_V volt(13)=1.10402800V
    0V8_SW_V volt(14)=0.79853400V
  VDD_CORE_V volt(15)=0.74944980V
   3V3_DAC_V volt(20)=3.31043600V
   3V3_ADC_V volt(21)=3.31684600V
   0V8_AON_V volt(19)=0.79794790V
      HDMI_V volt(23)=5.10138000V
     EXT5V_V volt(24)=5.08530000V
      BATT_V volt(25)=0.00000000V
"""
AMPERES = [0.09466522, 0.08197812, 0.1502932, 0.00390372, 0, 0.2029934, 0.3054661, 1.11625, 0, 0.00018315, 0.00274725]
VOLTS = [3.629252, 3.316529, 1.798777, 1.101464, 0.606, 1.104028, 0.798534, 0.7494498, 3.31, 3.316846, 0.7979479]


class Firmware:
    """What the tool prints, or the error that running it raises; and a clock in ns that moves while one waits."""

    def __init__(self, says=IDLE):
        self.says = says
        self.commands = []
        self.now = 0

    def run(self, command):
        self.commands.append(command)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def wait(self, seconds):
        self.now += round(seconds * 1e9)


@pytest.fixture
def firmware():
    return Firmware()


@pytest.fixture
def pi(tmp_path):
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    return tmp_path


@pytest.fixture
def source(pi, firmware):
    return RaspberryPi(
        pi,
        clock=lambda: firmware.now,
        pause=firmware.wait,
        which=lambda tool: f"/usr/bin/{tool}",
        run=firmware.run,
        background=False,
    )


def test_what_it_is():
    assert (RaspberryPi.rank, RaspberryPi.scope) == (Rank.BOARD, "board.pmic")
    assert RaspberryPi.covers == {Part.CPU, Part.GPU, Part.REST}


def test_the_sum_of_rails_that_have_both(source, firmware):
    by_hand = sum(a * v for a, v in zip(AMPERES, VOLTS, strict=True)) + 0.0166056 * 5.10138
    assert source.watts() == pytest.approx(by_hand, rel=1e-6)
    assert firmware.commands == [["/usr/bin/vcgencmd", "pmic_read_adc"]]


def test_a_current_without_a_voltage_and_the_reverse_are_no_power(source, firmware):
    firmware.says = "A_A current(0)=2.0A\nA_V volt(8)=3.0V\nB_A current(1)=9.0A\nEXT5V_V volt(24)=5.1V\n"
    assert source.watts() == pytest.approx(6.0)


def test_joules_are_the_power_over_time(source, firmware):
    firmware.says = "A_A current(0)=2.0A\nA_V volt(8)=3.0V\n"
    assert source.read() == (0, 0.0)
    firmware.wait(2)
    assert source.read() == (2 * 10**9, pytest.approx(12.0))


def test_available_tells_what_is_left_out(source, firmware):
    assert source.available() == Available("12 rails of the PMIC, without USB and HATs")
    assert len(firmware.commands) <= 3
    assert source.read()[1] == 0.0


@pytest.mark.parametrize("model", [b"NVIDIA Jetson Orin NX\0", None])
def test_other_boards(source, pi, firmware, model):
    file = pi / "proc/device-tree/model"
    file.unlink() if model is None else file.write_bytes(model)
    assert source.available() == Unavailable("Raspberry Pi: not a Raspberry Pi", expected=False)
    assert not firmware.commands


def test_no_tool(pi, firmware):
    state = RaspberryPi(pi, which=lambda tool: None, run=firmware.run).available()
    assert state.reason == "Raspberry Pi: no vcgencmd"
    assert "apt install raspi-utils" in state.hint
    assert not firmware.commands


@pytest.mark.parametrize(
    ("says", "reason", "hint"),
    [
        ('error=1 error_msg="Command not registered"\n', "no PMIC readings", "before the Raspberry Pi 5"),
        ("     EXT5V_V volt(24)=5.08530000V\n", "no PMIC readings", "before the Raspberry Pi 5"),
        ("A_A current(0)=1.2.3A\nA_V volt(8)=3.0V\n\x00\n=\n", "no PMIC readings", "before the Raspberry Pi 5"),
        ("", "no PMIC readings", "before the Raspberry Pi 5"),
        ("A_A current(0)=2.0A?\nA_V volt(8)=3.0V\n", "no PMIC readings", "before the Raspberry Pi 5"),
        ("A_A current(0)=nanA\nA_V volt(8)=infV\n", "no PMIC readings", "before the Raspberry Pi 5"),
        ("A_A current(0)=0.0A\nA_V volt(8)=3.0V\n", "no power read", "vcgencmd pmic_read_adc"),
        ("Can't open device file: /dev/vcio\nTry creating …", "permission denied", "-aG video"),
        ("VCHI initialization failed\n", "permission denied", "-aG video"),
        (OSError(8, "Exec format error"), "vcgencmd failed", "vcgencmd pmic_read_adc"),
        (subprocess.TimeoutExpired("vcgencmd", 5), "vcgencmd hangs", "vcgencmd pmic_read_adc"),
    ],
)
def test_answers_that_are_no_measurement(source, firmware, says, reason, hint):
    firmware.says = says
    state = source.available()
    assert state.reason == f"Raspberry Pi: {reason}"
    assert len(state.reason) <= 32
    assert hint in state.hint


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (IDLE.replace("VDD_CORE_A current(7)=1.11625000A", ""), "a rail is missing"),
        ("", "no PMIC readings"),
        (subprocess.TimeoutExpired("vcgencmd", 5), "vcgencmd hangs"),
    ],
)
def test_a_fault_midway(source, firmware, says, reason):
    source.read()
    firmware.says = says
    firmware.wait(1)
    with pytest.raises(MeterError, match=f"^Raspberry Pi: {reason}$"):
        source.read()


def test_a_closed_source_takes_the_rails_that_there_are(source, firmware):
    source.read()
    source.close()
    firmware.says = "A_A current(0)=2.0A\nA_V volt(8)=3.0V\n"
    assert source.read()[1] == 0.0


def test_a_clock_that_stands_still_proves_nothing(source, firmware, monkeypatch):
    monkeypatch.setattr(firmware, "now", 0)
    monkeypatch.setattr(source, "_pause", lambda seconds: None)
    assert source.available().reason == "Raspberry Pi: does not advance"


def test_available_leaves_no_thread(pi, firmware, monkeypatch):
    monkeypatch.setattr(RaspberryPi, "poll_s", 0.01)
    state = RaspberryPi(pi, which=lambda tool: tool, run=firmware.run).available()
    assert isinstance(state, Available)
    assert "kdbench-power" not in {thread.name for thread in threading.enumerate()}


def test_the_tool_is_run_with_all_that_it_prints(tmp_path):
    tool = tmp_path / "tool"
    tool.write_text('#!/bin/sh\necho "$1"\necho refused >&2\nexit 255\n')
    tool.chmod(0o755)
    assert raspberry_pi.run_tool([str(tool), "pmic_read_adc"]).split() == ["pmic_read_adc", "refused"]


def test_a_tool_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(raspberry_pi, "_TIMEOUT_S", 0.05)
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nexec sleep 30\n")
    tool.chmod(0o755)
    with pytest.raises(subprocess.TimeoutExpired):
        raspberry_pi.run_tool([str(tool)])
