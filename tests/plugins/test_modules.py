import sys

import pytest

from kdbench.errors import InputError
from kdbench.models import MODELS
from kdbench.plugins import activate, imported

REGISTERS = "from kdbench.models import MODELS\n@MODELS.register('{}')\ndef net(num_classes):\n    return {}\n"


def test_a_plug_in_file_registers_and_provides(folder, write):
    write("deep/mine.py", REGISTERS.format("my-net", 1))
    assert activate(["./deep/mine.py"], str(folder)) == ("mine",)
    assert MODELS.get("my-net")(3) == imported("mine:net")(3) == 1


def test_a_change_is_seen_at_the_next_start_and_not_before(folder, write):
    path = write("mine.py", REGISTERS.format("my-net", 1))
    activate(["mine"], str(folder))
    path.write_text(REGISTERS.format("my-net", 22).replace("def net", "def other"))
    assert MODELS.get("my-net")(3) == imported("mine:net")(3) == 1
    activate(["mine"], str(folder))
    assert MODELS.get("my-net")(3) == imported("mine:other")(3) == 22


def test_a_change_of_a_local_import_is_seen_too(folder, write):
    write("mine.py", "from layers import width\n")
    layers = write("layers.py", "width = 1\n")
    assert imported("mine:width") == 1
    layers.write_text("width = 22\n")
    activate((), str(folder))
    assert imported("mine:width") == 22


def test_modules_of_one_name_in_two_folders_are_two(folder, write, tmp_path):
    for name, value in (("study", 1), ("other", 2)):
        for file, source in (("mine.py", "from layers import width"), ("layers.py", f"width = {value}")):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text(source)
    (tmp_path / "other" / "theirs.py").write_text("from layers import width")
    for name, value in (("study", 1), ("other", 2), ("study", 1)):
        activate((), str(tmp_path / name))
        assert imported("mine:width") == value
    activate((), str(tmp_path / "other"))
    assert imported("theirs:width") == 2


def test_packages_of_one_name_in_two_folders_are_two(folder, tmp_path):
    for name, value in (("study", 1), ("other", 2)):
        (tmp_path / name / "nets").mkdir(parents=True)
        (tmp_path / name / "nets" / "small.py").write_text(f"width = {value}")
    for name, value in (("study", 1), ("other", 2)):
        activate((), str(tmp_path / name))
        assert imported("nets.small:width") == value


def test_a_module_that_the_user_imported_is_used_as_it_is(folder, write, monkeypatch):
    write("mine.py", "width = 1")
    monkeypatch.syspath_prepend(str(folder))
    import mine

    mine.width = 7
    assert imported("mine:width") == 7


def test_a_package_without_init_is_found_after_a_study_with_a_module_of_its_name(folder, write, tmp_path):
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "nets.py").write_text("def later():\n    from layers import width\n    return width\n")
    (earlier / "layers.py").write_text("width = 1")
    activate((), str(earlier))
    later = imported("nets:later")
    activate((), str(folder))
    write("nets/small.py", "width = 2")
    assert imported("nets.small:width") == 2
    assert later() == 1


def test_a_link_to_a_file_is_imported_once(folder, tmp_path):
    target = tmp_path / "elsewhere" / "code.py"
    target.parent.mkdir()
    target.write_text("class Net: pass")
    (folder / "mine.py").symlink_to(target)
    activate(["./mine.py"], str(folder))
    assert imported("mine:Net") is imported("mine:Net")
    activate(["./mine.py"], str(folder))
    target.write_text("width = 2")
    activate(["./mine.py"], str(folder))
    assert imported("mine:width") == 2


def test_a_local_module_can_be_imported_later_within_a_function(folder, write):
    write("mine.py", "def later():\n    from layers import width\n    return width\n")
    write("layers.py", "width = 3")
    assert imported("mine:later")() == 3


@pytest.mark.parametrize(
    ("plugin", "message"), [("./gone.py", "no .*gone.py"), ("my-net.py", "my-net.py is not a valid module name")]
)
def test_a_file_that_is_no_plug_in_is_refused(folder, write, plugin, message):
    write("my-net.py", "")
    with pytest.raises(InputError, match=message) as caught:
        activate([plugin], str(folder))
    assert caught.value.hint


def test_plug_ins_leave_nothing_behind_in_front_of_the_path(folder, write):
    before = sys.path[0]
    write("mine.py", "x = 1")
    imported("mine:x")
    assert sys.path[0] == before
