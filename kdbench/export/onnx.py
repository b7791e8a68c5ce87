"""Write a trained network as ONNX: torch's current exporter, dynamic batch, weights inside the file."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import onnx_ir as ir
import torch
from torch import nn

from kdbench import storage
from kdbench.errors import KdbenchError
from kdbench.export.integers import fold_batch_norm

INPUT, OUTPUT = "input", "logits"
# A protobuf message is limited to 2 GiB; larger networks keep their weights in a second file beside the first.
_INLINE_LIMIT_BYTES = 1_800_000_000
_STACK_TRACE = "pkg.torch.onnx.stack_trace"


class ExportError(KdbenchError):
    """A network that torch's exporter cannot turn into ONNX."""


def export_onnx(network: nn.Module, input_shape: tuple[int, ...], path: Path) -> None:
    """Write `network` to `path`: input "input" (batch, C, H, W) float32, output "logits" (batch, classes).

    The network is put in evaluation mode. Batch norm that follows a layer with integer weights is folded into it.
    Raises ExportError with the exporter's reason.
    """
    network.eval()
    # Two samples: with one, the exporter treats the batch as a constant.
    example = torch.zeros(2, *input_shape)
    weights_bytes = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:  # noqa: SLF001 - its public face
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            f"the network cannot be exported to ONNX: {reason}", "use layers that torch.export supports"
        ) from error
    assert program is not None
    fold_batch_norm(program.model)
    for node in program.model.graph.all_nodes():  # local paths of source lines, a sixth of a small file
        node.metadata_props.pop(_STACK_TRACE, None)
    with storage.replacing(path) as temporary:
        if weights_bytes < _INLINE_LIMIT_BYTES:
            program.save(temporary, external_data=False)
        else:  # the file refers to its weights by a name that fits `path`
            ir.save(program.model, temporary, external_data=f"{path.name}.data")


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]  # noqa: ANN202 - a generator of nothing
    """Keep the exporter's output, which ignores `verbose`, off the terminal."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
