import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from kdbench.errors import InputError
from kdbench.registry import LOOKUPS, Registry, nearest, suggestion


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry[str]:
    """A registry over a package with two modules, each of which registers something."""
    package = tmp_path / "shapes"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from kdbench.registry import Registry\nSHAPES = Registry('shape', package='shapes', group='tests.shapes')\n"
    )
    (package / "flat.py").write_text("from shapes import SHAPES\nSHAPES.register('circle')('round')\n")
    (package / "solid.py").write_text(
        textwrap.dedent("""
        from shapes import SHAPES
        SHAPES.register("cube")("six faces")
        SHAPES.register_pattern(r"prism\\d+", example="prism5")("n + 2 faces")
        SHAPES.register("prism3")("five faces")
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import shapes

    yield shapes.SHAPES
    for name in [name for name in sys.modules if name.partition(".")[0] == "shapes"]:
        del sys.modules[name]


def test_modules_are_imported_at_the_first_look_up_and_not_before(registry):
    assert "shapes.flat" not in sys.modules
    assert registry.get("circle") == "round"
    assert "shapes.solid" in sys.modules


def test_a_name_can_belong_to_a_family_and_an_exact_name_wins(registry):
    assert registry.get("prism17") == "n + 2 faces"
    assert registry.get("prism3") == "five faces"


def test_names_are_sorted_and_show_a_family_by_its_example(registry):
    assert registry.names() == ["circle", "cube", "prism3", "prism5"]
    assert dict(registry) == {"circle": "round", "cube": "six faces", "prism3": "five faces"}


def test_a_name_belongs_to_one_thing_and_the_error_names_both_places(registry):
    registry.register("sphere")("round")
    registry.register("sphere")("round")
    with pytest.raises(InputError) as caught:
        registry.register("sphere")("rounder")
    assert "'round'" in caught.value.message
    assert f"'rounder' ({__file__})" in caught.value.message


def cell(registry, size):
    """What a notebook's cell does each time it runs."""

    @registry.register("ball")
    def ball():
        return size

    registry.register_pattern(r"ball\d", example="ball1")(ball)


def test_what_is_registered_again_replaces_the_earlier(registry):
    for size in (1, 2):
        cell(registry, size)
        assert (registry.get("ball")(), registry.get("ball7")()) == (size, size)
    assert registry.names().count("ball1") == 1


def test_what_a_module_registered_can_be_removed(registry):
    cell(registry, 1)
    registry.get("circle")
    type(registry).forget(__name__)
    with pytest.raises(InputError):
        registry.get("ball")
    assert registry.get("circle") == "round"


def test_look_ups_of_foreign_names_are_noted_while_wanted(registry):
    cell(registry, 1)
    registry.get("ball")
    token = LOOKUPS.set([])
    registry.get("ball7")
    (use,) = LOOKUPS.get()
    LOOKUPS.reset(token)
    assert (use.kind, use.name, use.entry(), use.module) == ("shape", "ball7", 1, __name__)


def test_an_import_path_is_the_last_resort():
    registry = Registry("thing", package="kdbench.models", group="tests.none", imported=str.upper)
    assert registry.get("a:b") == "A:B"
    with pytest.raises(InputError, match="unknown thing 'ab'"):
        registry.get("ab")


def test_a_misspelt_name_is_answered_with_the_nearest(registry):
    with pytest.raises(InputError) as caught:
        registry.get("cuve")
    assert (caught.value.message, caught.value.hint) == ("unknown shape 'cuve'", "did you mean 'cube'?")


def test_a_name_like_no_other_is_answered_with_all(registry):
    with pytest.raises(InputError) as caught:
        registry.get("xyzzy")
    assert caught.value.hint == "known: circle, cube, prism3, prism5"


def test_a_pattern_is_matched_in_full(registry):
    with pytest.raises(InputError):
        registry.get("prism17b")


def test_an_import_that_was_interrupted_is_repeated_at_the_next_look_up(registry, tmp_path, monkeypatch):
    (tmp_path / "shapes" / "round.py").write_text(
        "import sys\nfrom shapes import SHAPES\nif not SHAPES.ready:\n    raise KeyboardInterrupt\n"
        "SHAPES.register('ring')('one hole')\n"
    )
    registry.ready = False
    with pytest.raises(KeyboardInterrupt):
        registry.get("cube")
    registry.ready = True
    assert registry.names() == ["circle", "cube", "prism3", "prism5", "ring"]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return what installs a distribution `holes` 1.2, whose one plug-in is a module with the given source."""

    def install(source: str) -> None:
        (tmp_path / "holed.py").write_text(f"from shapes import SHAPES\n{source}\n")
        folder = tmp_path / "holes-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: holes\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text("[tests.shapes]\ntorus = holed\n")

    yield install
    sys.modules.pop("holed", None)


def test_other_distributions_add_theirs_through_entry_points(registry, install):
    install("SHAPES.register('torus')('one hole')")
    assert registry.get("torus") == "one hole"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_is_gone", "ModuleNotFoundError: No module named 'a_module_that_is_gone'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("SHAPES.register('cube')('a cube of theirs')", "shape 'cube' exists already, "),
    ],
    ids=["import", "fault", "name taken"],
)
def test_a_plug_in_that_breaks_is_named_with_its_distribution_each_time(registry, install, source, reason):
    install(source)
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            registry.get("circle")
        assert caught.value.message.startswith(f"the plug-in 'torus' (holed) of holes 1.2 cannot be loaded: {reason}")
        assert caught.value.hint == "update or uninstall holes"


def test_a_plug_in_of_no_known_distribution_is_named(registry, monkeypatch):
    point = EntryPoint("torus", "a_module_that_is_gone", "tests.shapes")
    monkeypatch.setattr("kdbench.registry.entry_points", lambda *, group: [point] if group == "tests.shapes" else [])
    with pytest.raises(InputError, match=r"'torus' \(a_module_that_is_gone\) of its distribution"):
        registry.get("circle")


@pytest.mark.parametrize(("word", "expected"), [("resnet57", "resnet56"), ("vgg", "vgg8"), ("zzz", None)])
def test_nearest(word, expected):
    assert nearest(word, ["resnet56", "vgg8", "mlp"]) == expected


@pytest.mark.parametrize(
    ("word", "otherwise", "hint"),
    [
        ("vgg", None, "did you mean 'vgg8'?"),
        ("zzz", None, "known: mlp, vgg8"),
        ("zzz", "it has two", "it has two"),
        ("zzz", "", ""),
    ],
)
def test_suggestion(word, otherwise, hint):
    assert suggestion(word, iter(["mlp", "vgg8"]), otherwise) == hint
