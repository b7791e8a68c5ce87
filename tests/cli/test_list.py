import pytest

KINDS = {
    "recipes": {"digits", "mnist_dense"},
    "datasets": {"digits", "mnist", "cifar10", "cifar100", "fashion_mnist"},
    "models": {"vgg11_bn", "resnet20", "mobilenet_v3_small"},
    "methods": {"kd", "hint"},
    "formats": {"md", "csv", "json"},
}


@pytest.mark.parametrize(("kind", "expected"), KINDS.items())
def test_everything_listed_has_a_description_of_its_own(kdbench, kind, expected):
    described = kdbench("list", kind, "--json").json
    assert expected <= described.keys()
    assert all(described.values())
    assert not any("partial(" in text for text in described.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_is_a_line_each_in_columns(kdbench, kind):
    described = kdbench("list", kind, "--json").json
    lines = kdbench("list", kind).out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, text] for name, text in described.items()]
    assert len({line.index(text) for line, text in zip(lines, described.values(), strict=True)}) == 1
