import pytest

from kdbench.errors import InputError
from kdbench.plugins import imported


def test_a_module_beside_the_recipe_comes_before_one_in_the_working_directory(folder, write, tmp_path):
    (tmp_path / "working" / "mine.py").write_text("where = 'working'")
    (tmp_path / "working" / "here.py").write_text("where = 'working'")
    write("mine.py", "where = 'recipe'")
    assert imported("mine:where") == "recipe"
    assert imported("here:where") == "working"
    assert imported("math:pi") == pytest.approx(3.14159, abs=1e-5)


def test_packages_and_attributes_of_attributes_are_found(folder, write):
    write("nets/small.py", "class A:\n    class B:\n        size = 3\n")
    assert imported("nets.small:A.B.size") == 3


@pytest.mark.parametrize(
    ("source", "path", "message", "hint"),
    [
        ("x = 1", "mine", "is not an import path", "pkg.module:name"),
        ("x = 1", "mine.py:x", "is not an import path", "mine:x"),
        ("x = 1", "./sub/mine.py:x", "is not an import path", "sub.mine:x"),
        ("x = 1", "yours:x", "no module 'yours'", "study"),
        ("import gone_for_good", "mine:x", "imports 'gone_for_good', which is missing", "install gone_for_good"),
        ("1 / 0", "mine:x", "ZeroDivisionError", "import mine"),
        ("raise SystemExit(3)", "mine:x", "SystemExit", "import mine"),
        ("def MyNet(): ...", "mine:MyNett", "mine has no 'MyNett'", "did you mean 'MyNet'?"),
        ("x = 1", "mine:x.y", "has no 'x.y'", "no functions"),
        ("def __getattr__(name): raise ImportError('needs timm')", "mine:x", "ImportError: needs timm", "call it"),
    ],
)
def test_what_cannot_be_imported_is_refused(write, source, path, message, hint):
    write("mine.py", source)
    with pytest.raises(InputError) as caught:
        imported(path)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_with_the_name_of_a_library_in_use_is_refused(write):
    for name in ("random", "numpy"):
        write(f"{name}.py", "x = 1")
        with pytest.raises(InputError) as caught:
            imported(f"{name}:x")
        assert caught.value.hint == "rename the file"
