import pytest

KINDS = {
    "recipes": {"digits", "mnist_dense"},
    "datasets": {"digits", "mnist", "cifar10", "cifar100", "fashion_mnist"},
    "models": {"vgg11_bn", "resnet20", "mobilenet_v3_small"},
    "methods": {"kd", "hint"},
    "formats": {"md", "csv", "json"},
    "targets": {"raspberry-pi-5", "server-cpu"},
    "styles": {"summary", "ratio", "sweep", "fidelity", "teachers"},
}


@pytest.mark.parametrize(("kind", "expected"), KINDS.items())
def test_everything_listed_has_a_description_of_its_own(run_cli, kind, expected):
    described = run_cli("list", kind, "--json").json
    assert expected <= described.keys()
    assert all(described.values())
    assert not any("partial(" in text for text in described.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_holds_every_name_and_every_description_once(run_cli, kind):
    described = run_cli("list", kind, "--json").json
    words = run_cli("list", kind).out.replace(",", " ").split()
    assert all(name in words for name in described)
    text = run_cli("list", kind).out
    assert all(text.count(f"  {sentence}\n") == 1 for sentence in set(described.values()))


def test_descriptions_stand_in_a_column_and_below_names_that_are_too_wide(run_cli, monkeypatch):
    described = {
        "r110": "Deep.",
        "mlp": "Dense.",
        "r20": "Deep.",
        "a-name-of-thirty-two-characters-": "Long.",
        "a-name-of-thirty-three-characters": "Longer.",
    }
    monkeypatch.setattr("kdbench.cli.commands.list._described", lambda _: described)
    assert run_cli("list", "models").out.splitlines() == [
        "r20, r110                         Deep.",
        "mlp                               Dense.",
        "a-name-of-thirty-two-characters-  Long.",
        "a-name-of-thirty-three-characters",
        "                                  Longer.",
    ]
