import pytest

from kdbench.errors import InputError
from kdbench.installation import __version__
from kdbench.workflows.sweeping.execution.on_nodes import are_visible, require_version, result_of, stamps
from kdbench.workflows.sweeping.execution.schedule import Fault


def test_stamps_tell_which_files_are_there(tmp_path):
    (tmp_path / "x").touch()
    assert stamps(tmp_path, ["x", "y"]) == {"x": (tmp_path / "x").stat().st_mtime_ns}


def test_an_answer_has_the_files_that_a_task_left_unless_it_failed(tmp_path):
    (tmp_path / "x").touch()
    message = {"folder": str(tmp_path), "leaves": ["x"]}
    left = result_of(None, message)["left"]
    assert result_of(None, message) == {"fault": None, "left": {"x": (tmp_path / "x").stat().st_mtime_ns}}
    assert are_visible(left, message)
    (tmp_path / "x").unlink()
    assert not are_visible(left, message)
    failed = result_of(Fault("no", "try"), message)
    assert (failed["fault"]["message"], failed["left"]) == ("no", {})


def test_another_kdbench_is_refused():
    require_version(__version__, "a", "hint")
    with pytest.raises(InputError, match=r"node a has kdbench .*, and the sweep was started with 0\.0\.1") as refused:
        require_version("0.0.1", "a", "install the same")
    assert refused.value.hint == "install the same"
