"""onnxruntime's operators with multiply–accumulates, and which of them compute in integers. Standard library only."""

INTEGER_KERNELS = frozenset(
    {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QGemm"}
    | {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"}
)
"""Those that multiply and add integers."""

LAYER_KERNELS = INTEGER_KERNELS | {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul", "MatMulNBits"),
    *("LSTM", "GRU", "RNN", "Attention"),
}
"""All of them."""
