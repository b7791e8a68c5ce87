"""The hash of user code changes with everything that the code depends on, and with nothing else."""

import json
import linecache
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest
from safetensors.numpy import save_file

from kdbench.files.storage import sha256
from kdbench.models import MODELS
from kdbench.plugins import Source, activate, located_sources, recording
from kdbench.plugins import sources as source_files
from kdbench.plugins.objects import described_objects
from kdbench.registry import Registry

NETS = """
    from pathlib import Path
    import numpy as np
    from layers import block
    TABLE = np.load(Path(__file__).parent / ("tab" + "le.npy"))
    def net(num_classes, file=None):
        from late import size
        np.load(Path(__file__).with_name("at" + "_build.npy"))
        return block(size)
    HEAD = "head.safetensors"
"""


@pytest.fixture
def project(folder, write):
    write("mynets.py", NETS)
    write("layers.py", "def block(size):\n    import deeper\n    return deeper.f(size)\n")
    write("deeper.py", "def f(size):\n    return size\n")
    write("late.py", "size = 3\n")
    write("unrelated.py", "x = 1\n")
    for name in ("table", "at_build", "option", "other"):
        np.save(folder / f"{name}.npy", np.ones(3))
    save_file({"x": np.ones(2)}, folder / "head.safetensors")
    return folder


def sources(folder, options=()):
    activate((), str(folder))
    with recording() as recorded:
        MODELS.get("mynets:net")(3)
    return tuple(located_sources(recorded, options))


def test_sources_are_the_code_its_imports_and_what_it_reads(project):
    located = sources(project, [{"file": "option.npy", "nested": [{"also": "./other.npy"}]}])
    code = {"mynets.py", "layers.py", "deeper.py", "late.py"}
    data = {"table.npy", "at_build.npy", "option.npy", "other.npy", "head.safetensors"}
    assert {source.name for source in located} == code | data
    assert all(source.sha256 == sha256(project / source.name) for source in located)


@pytest.mark.parametrize(
    "name",
    ["mynets.py", "layers.py", "deeper.py", "late.py", "table.npy", "at_build.npy", "option.npy", "head.safetensors"],
)
def test_a_change_of_any_of_them_changes_the_sources(project, name):
    options = [{"file": "option.npy"}]
    before = sources(project, options)
    with (project / name).open("ab") as stream:
        stream.write(b"\n")
    after = sources(project, options)
    assert {source.name for source in set(before) ^ set(after)} == {name}


def test_what_is_not_used_does_not_count_nor_does_the_place(project, tmp_path):
    before = sources(project)
    (project / "unrelated.py").write_text("x = 2\n")
    (project / "notes.txt").write_text("x")
    assert sources(project) == before
    moved = project.rename(tmp_path / "moved")
    assert sources(moved) == before


def test_another_process_finds_the_same(project):
    script = f"""
import json
from kdbench.models import MODELS
from kdbench.plugins import activate, located_sources, recording
activate((), {str(project)!r})
with recording() as recorded:
    MODELS.get("mynets:net")(3)
print(json.dumps(list(located_sources(recorded))))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [list(source) for source in sources(project)]


READERS = {
    "in place": "return np.load(FILE, mmap_mode='r+')",
    "a memory map": "return np.memmap(FILE)",
    "a descriptor": "return os.read(os.open(FILE, os.O_RDWR), 9)",
    "a thread of the library": "with ThreadPoolExecutor(1) as pool: return pool.submit(np.load, FILE).result()",
    "a thread of its own": "thread = Thread(target=lambda: np.load(FILE)); thread.start(); thread.join()",
}


@pytest.mark.parametrize("how", READERS)
def test_files_count_however_the_code_reads_them(folder, write, how):
    np.save(folder / "table.npy", np.ones(3))
    write(
        "mynets.py",
        f"""
        import os
        import numpy as np
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from threading import Thread
        FILE = Path(__file__).parent / ("tab" + "le.npy")
        def net(num_classes):
            {READERS[how]}
        """,
    )
    assert Source("table.npy", sha256(folder / "table.npy")) in sources(folder)


def test_files_that_the_code_writes_do_not_count(folder, write):
    (folder / "counter").write_text("1")
    write(
        "mynets.py",
        """
        from pathlib import Path
        def net(num_classes):
            with Path(__file__).with_name("coun" + "ter").open("r+") as stream:
                stream.write(stream.read() * 2)
        """,
    )
    assert {source.name for source in sources(folder)} == {"mynets.py"}


def test_threads_that_were_there_before_do_not_count(folder, write):
    np.save(folder / "other.npy", np.ones(3))
    write("mynets.py", "def net(num_classes):\n    import builtins\n    builtins.of_a_test()\n")
    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        pool.submit(int).result()
        # Without a frame of this file, as where a notebook's server reads.
        patch.setattr("builtins.of_a_test", lambda: pool.submit(np.load, folder / "other.npy").result(), raising=False)
        assert {source.name for source in sources(folder)} == {"mynets.py"}


def test_modules_count_that_code_imports_by_a_computed_name(folder, write):
    write("late.py", "size = 3\n")
    write(
        "mynets.py",
        """
        import importlib
        def net(num_classes):
            return importlib.import_module("la" + "te").size
        """,
    )
    assert {source.name for source in sources(folder)} == {"mynets.py", "late.py"}
    assert {source.name for source in sources(folder)} == {"mynets.py", "late.py"}  # not imported again
    write("late.py", "size = 45\n")
    assert Source("late.py", sha256(folder / "late.py")) in sources(folder)
    assert MODELS.get("mynets:net")(3) == 45


def test_files_of_one_name_are_told_apart_by_their_folders(folder, write):
    for name, content in (("a", "1"), ("b", "2")):
        (folder / name).mkdir()
        (folder / name / "w.txt").write_text(content)
    write("mynets.py", 'A, B = "a/w.txt", "b/w.txt"\ndef net(num_classes):\n    pass\n')
    before = sources(folder)
    assert {source.name for source in before} == {"mynets.py", "a/w.txt", "b/w.txt"}
    (folder / "a" / "w.txt").write_text("2")
    (folder / "b" / "w.txt").write_text("1")
    assert sources(folder) != before


def test_an_outer_recording_sees_what_an_inner_one_sees(project):
    activate((), str(project))
    with recording() as outer:
        with recording() as inner:
            MODELS.get("mynets:net")(3)
        MODELS.get("convnet")
    assert located_sources(outer) == located_sources(inner) != {}


def test_sources_are_located(project):
    activate((), str(project))
    with recording() as recorded:
        MODELS.get("mynets:net")(3)
        MODELS.get("torchvision.models:resnet18")
    located = located_sources(recorded)
    for source, path in located.items():
        assert path is None if source.name.startswith("torchvision ") else path == project / source.name


def test_built_in_names_have_no_sources(project):
    with recording() as recorded:
        MODELS.get("convnet")
        (project / "option.npy").read_bytes()
    assert located_sources(recorded, [{"file": "option.npy"}]) == {}


def test_installed_code_is_named_with_its_version(folder):
    import torchvision

    with recording() as recorded:
        MODELS.get("torchvision.models:resnet18")
    names = {source.name for source in located_sources(recorded)}
    assert names == {f"torchvision {torchvision.__version__.partition('+')[0]}"} or names == {
        f"torchvision {torchvision.__version__}"
    }


def test_a_distribution_that_is_installed_later_is_found(monkeypatch):
    found = [{}, {"numpy": ["numpy"]}]
    monkeypatch.setattr(metadata, "packages_distributions", lambda: found.pop(0))
    source_files._distributions.cache_clear()
    assert source_files._distribution("numpy.lib") == source_files._distribution("numpy") == f"numpy {np.__version__}"
    source_files._distributions.cache_clear()


def test_a_distribution_that_was_removed_is_named_by_its_module(monkeypatch):
    monkeypatch.setattr(source_files, "_distributions", lambda: {"removed": ["removed-distribution"]})
    assert source_files._distribution("removed.part") == "removed.part"


CELL = """
import numpy as np
from kdbench.models import MODELS
from layers import block
DEPTH = {depth}
WEIGHTS = np.full(3, {weight})
def helper(x):
    return x + {added}  # {comment}
class Base:
    scale = {scale}
@MODELS.register("of-a-cell")
class Net(Base):
    def __init__(self, num_classes):
        self.depth = DEPTH, WEIGHTS, block
    def forward(self, x):
        return helper(x)
def unrelated():
    return {unrelated}
"""
VALUES = {"depth": 1, "weight": 1, "added": 1, "comment": "c", "scale": 1, "unrelated": 1}


def cell_sources(**changes):
    """Run a notebook's cell and return the sources of its class."""
    text = CELL.format(**{**VALUES, **changes})
    file = "<cell>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), {"__name__": "a_notebook"})
    with recording() as recorded:
        MODELS.get("of-a-cell")
    Registry.forget("a_notebook")
    return tuple(located_sources(recorded))


def test_the_code_of_a_notebook_counts_with_what_it_refers_to(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    before = cell_sources()
    assert cell_sources() == before
    assert cell_sources(unrelated=2) == before
    for name in ("depth", "weight", "added", "scale"):
        assert cell_sources(**{name: 2}) != before, name
    assert {"layers.py", "deeper.py"} <= {source.name for source in before}


def test_code_without_a_source_counts_by_what_it_does(folder):
    def of(body):
        namespace = {"__name__": "a_console"}
        exec(f"class Net:\n    def forward(self, x):\n        return {body}\n", namespace)
        MODELS.register("of-a-console")(namespace["Net"])
        with recording() as recorded:
            MODELS.get("of-a-console")
        Registry.forget(__name__)
        return tuple(located_sources(recorded))

    assert of("x + 1") == of("x + 1")
    assert len({of("x + 1"), of("x + 2"), of("x.a"), of("x.b")}) == 4


REFERRED = """
import functools
def change(x): return x + {added}
def other(x): return x
class Scaling:
    factor = {factor}
    def apply(self, x): return x * self.factor
def blend(function, x): return function(x)
SIZES, NAMES = {sizes}, frozenset({names})
TABLE, BOUND, PARTIAL = {table}, Scaling().apply, functools.partial(blend, change)
def net(x): return {uses}, SIZES, NAMES
"""
REFERS = {
    "added": 1,
    "factor": 1,
    "sizes": "[[8, 16], [32]]",
    "names": '["a", "b", "c"]',
    "uses": "x",
    "table": '{"first": [change], "then": other}',
}


@pytest.mark.parametrize(
    ("uses", "changes"),
    [
        ("x", {"sizes": "[[8], [16, 32]]"}),
        ("x", {"names": '["a", "b", "d"]'}),
        ("TABLE", {"added": 2}),
        ("TABLE", {"table": '{"first": [other], "then": change}'}),
        ("BOUND", {"factor": 2}),
        ("PARTIAL", {"added": 2}),
    ],
)
def test_what_lists_tables_methods_and_partial_functions_hold_counts(uses, changes):
    def hashes(**changes):
        namespace = {"__name__": "a_console"}
        exec(REFERRED.format(**{**REFERS, "uses": uses, **changes}), namespace)
        return described_objects(namespace["net"])[0]

    assert hashes() == hashes(names='["c", "b", "a"]')
    assert hashes() != hashes(**changes)
    if uses == "x":  # which refers to none of the functions
        assert hashes() == hashes(added=2, factor=2)


def test_the_order_of_a_set_which_depends_on_the_process_does_not_count():
    names = [f"name-{number}" for number in range(50)]
    code = f"""if True:
        from kdbench.plugins.objects import described_objects
        NAMES = set({names})
        exec("def net(x): return x in NAMES or x in {{'one', 'two', 'three', 'four', 'five'}}")
        print(described_objects(net)[0])
    """
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert outputs.pop().count("NAMES") == 1


def test_files_that_no_looked_up_code_reads_are_not_remembered(project):
    with recording():
        (project / "option.npy").read_bytes()
    with recording() as later:
        pass
    assert later.opened == frozenset()


RUNS_SCRIPTS = """
    import runpy
    from pathlib import Path
    HERE = Path(__file__).parent
    exec(HERE.joinpath("executed" + ".py").read_text())
    def net(num_classes, config=None):
        with open(str(HERE.joinpath("in_bytes" + ".txt")).encode()) as file:
            file.read()
        return runpy.run_path(str(HERE.joinpath("ran" + ".py")))
"""


def test_scripts_that_code_runs_count_as_files_that_it_reads(folder, write):
    write("mynets.py", RUNS_SCRIPTS)
    for name in ("executed.py", "ran.py", "config.py", "in_bytes.txt", "unused.py"):
        write(name, "x = 1\n")
    names = {source.name for source in sources(folder, [{"config": "config.py"}])}
    assert names == {"mynets.py", "executed.py", "ran.py", "config.py", "in_bytes.txt"}
