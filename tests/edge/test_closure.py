"""What a bundle takes along: the package's own files, all that they import, and nothing that a device lacks."""

from kdbench.edge.closure import closure, modules_in

SESSIONS = "kdbench.measure.latency.sessions"


def test_the_closure_has_what_is_imported_anywhere_in_a_file_and_the_packages_around_it():
    files = closure([SESSIONS])
    assert {"kdbench/__init__.py", "kdbench/measure/__init__.py", "kdbench/measure/latency/sessions.py"} <= files.keys()
    assert "kdbench/statistics/special.py" in files  # by way of the package that re-exports it
    assert "kdbench/children.py" in files
    assert "kdbench/recipe/measure.py" not in files  # nothing needs it
    assert "kdbench/meters/rapl.py" not in files


def test_modules_of_a_package_are_its_files():
    assert "kdbench.meters.rapl" in modules_in("kdbench.meters")
    assert "kdbench.meters" not in modules_in("kdbench.meters")
