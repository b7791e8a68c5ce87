import numpy as np
import pytest
from onnx import TensorProto, helper, save

CALLED = """
    def test_it(kdbench):
        kdbench.model("{name}.onnx", data={data}).size_bytes.at_most("1 B")
"""


def test_a_model_is_called_without_data(run):
    run(CALLED.format(name="student", data=None)).assert_outcomes(passed=1)


def test_a_model_is_called_with_data(pytester, run):
    images, labels = np.zeros((5, 1, 2, 2), np.uint8), np.array([0, 1, 0, 1, 0])
    np.savez(pytester.path / "test.npz", images=images, labels=labels)
    run(CALLED.format(name="student", data="'npz:test.npz'")).assert_outcomes(passed=1)
    np.savez(pytester.path / "test.npz", images=np.zeros((5, 1, 5, 5), np.uint8), labels=labels)
    result = run(CALLED.format(name="student", data="'npz:test.npz'"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*takes inputs of shape*but the images are 1x5x5*"])


def test_data_that_is_not_on_this_machine_is_made_up_for(run, monkeypatch):
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    tests = CALLED.format(name="student", data="'cifar10', data_root='.'")
    run(tests).assert_outcomes(passed=1)


def test_a_file_that_is_no_model_fails(pytester, run):
    (pytester.path / "broken.onnx").write_bytes(b"not a model")
    result = run(CALLED.format(name="broken", data=None))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*broken.onnx*"])


@pytest.mark.parametrize(
    ("node", "message"),
    [("Log", "*bad.onnx: its output is not finite"), ("NoSuchOperator", "*bad.onnx could not be run: *")],
)
def test_a_model_that_does_not_work_fails(pytester, run, node, message):
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    nodes = [helper.make_node("Neg", ["x"], ["z"]), helper.make_node(node, ["z"], ["y"])]
    graph = helper.make_graph(nodes, "g", [image], [logits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, pytester.path / "bad.onnx")
    result = run(CALLED.format(name="bad", data=None))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_a_model_is_called_once_whatever_the_number_of_tests(run, monkeypatch):
    called = []
    monkeypatch.setattr("kdbench.testing.records._call", called.append)
    tests = """
        import pytest

        @pytest.mark.parametrize("again", range(3))
        def test_it(kdbench, again):
            kdbench.model("student.onnx").top1.at_least(0.9)
    """
    run(tests).assert_outcomes(passed=3)
    assert [model.id for model in called] == ["student"]
