"""Shared by both counters: the MACs of an Einstein sum, and the operators without canonical MACs.

Operators in no table are reported as uncounted.
"""

import math
from collections.abc import Sequence
from string import ascii_letters


def einsum_macs(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[tuple[int, int]] | None = None
) -> int | None:
    """Return the MACs of the Einstein sum `equation` of operands of `shapes`.

    First each operand is summed over the indices that neither another operand nor the result has. Then the MACs of a
    contraction of two operands are the product of the sizes of all their indices; a single operand has none. More than
    two operands are contracted from left to right, as in onnxruntime and torch, or by `path`: pairs of positions to
    contract, each result appended at the end. None for an equation that does not fit the shapes.
    """
    terms = _terms(equation, shapes)
    if terms is None:
        return None
    operands, result = terms
    sizes: dict[str, int] = {}
    for term, shape in zip(operands, shapes, strict=True):
        for index, size in zip(term, shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))  # an index of size 1 is broadcast
    left = [set(term) for term in operands]
    if path is None:  # the first two, then their result, which is at the end, with the operand that is now first
        path = [(0, 1), *((last, 0) for last in range(len(operands) - 2, 0, -1))][: len(operands) - 1]
    macs = 0
    for pair in path:
        one, other = (left[position] for position in pair)
        left = [term for position, term in enumerate(left) if position not in pair]
        kept = set(result).union(*left)
        shared = (one & other) | ((one | other) & kept)
        macs += math.prod(sizes[index] for index in shared)
        left.append((one | other) & kept)
    return macs


def _terms(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[str], str] | None:
    """Return the indices of each operand and of the result, with ellipses expanded; None if they do not fit."""
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        return None
    spare = [letter for letter in ascii_letters if letter not in equation]
    widths = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    if any(width < 0 or (width > 0 and "..." not in term) for width, term in zip(widths, terms, strict=True)):
        return None
    widest = max(widths, default=0)
    if widest > len(spare):
        return None
    batch = "".join(spare[:widest])  # broadcast from the last axis on
    operands = [term.replace("...", batch[widest - width :]) for term, width in zip(terms, widths, strict=True)]
    if not arrow:  # indices that appear once, in alphabetical order, after the ellipsis
        letters = inputs.replace("...", "").replace(",", "")
        result = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return operands, result.replace("...", batch)


# Each kind begins on a new line: activations, norms, pools and resampling, elementwise and reductions, shapes.
_ATEN = """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish softplus softsign hardtanh hardswish hardsigmoid
    hardshrink softshrink threshold sigmoid log_sigmoid tanh softmax log_softmax glu
    batch_norm group_norm layer_norm instance_norm rms_norm native_layer_norm native_batch_norm
    max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_bicubic2d upsample_trilinear3d grid_sampler
    add sub rsub mul div neg abs sign pow sqrt rsqrt square reciprocal exp log log1p erf sin cos floor ceil round
    minimum maximum clamp clamp_min clamp_max where lt le gt ge eq ne logical_and logical_or logical_not bitwise_not
    mean sum prod amax amin max min argmax var std norm linalg_vector_norm logsumexp cumsum topk sort
    pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d replication_pad3d
    pixel_shuffle pixel_unshuffle channel_shuffle dropout feature_dropout alpha_dropout embedding repeat
    repeat_interleave tile broadcast_to expand_as view_as reshape_as swapaxes movedim flip flatten unflatten
    index_select masked_fill scatter clone alias lift_fresh numel item meshgrid linspace fill zero ones_like
    concat concatenate hstack vstack squeeze unsqueeze unsafe_chunk unsafe_split im2col col2im
    _pack_padded_sequence _pad_packed_sequence
"""
ATEN = frozenset(f"aten::{name}{in_place}" for name in _ATEN.split() for in_place in ("", "_"))
"""Operators of a torch trace without MACs; fvcore ignores further ones by default."""

# The same, then random numbers with the shapes, and quantized operators.
_ONNX = """
    Relu LeakyRelu PRelu Elu Selu Celu Gelu Mish Softplus Softsign HardSigmoid HardSwish Sigmoid Tanh Softmax
    LogSoftmax Hardmax ThresholdedRelu Shrink Swish SwiGLU FastGelu QuickGelu BiasGelu BiasSplitGelu BiasSoftmax
    BatchNormalization InstanceNormalization GroupNormalization LayerNormalization RMSNormalization
    LpNormalization MeanVarianceNormalization LRN SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization GroupNorm SkipGroupNorm EmbedLayerNormalization
    MaxPool NhwcMaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool MaxRoiPool RoiAlign MaxUnpool
    Resize Upsample GridSample
    Add Sub Mul Div Neg Abs Sign Pow Sqrt Reciprocal Exp Log Erf Sin Cos Floor Ceil Round Mod Min Max Mean Sum Clip
    Tan Sinh Cosh Asin Acos Atan Asinh Acosh Atanh BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BiasAdd RotaryEmbedding
    Where Less LessOrEqual Greater GreaterOrEqual Equal And Or Xor Not IsNaN IsInf BitShift
    ReduceMean ReduceSum ReduceSumSquare ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ArgMax ArgMin CumSum CumProd TopK NonZero NonMaxSuppression
    SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss
    Constant ConstantOfShape Identity Cast CastLike BitCast Shape Size Reshape Flatten Transpose Squeeze Unsqueeze
    Concat Split Slice Gather GatherElements GatherND Scatter ScatterElements ScatterND Expand Tile Pad Range OneHot
    EyeLike Trilu DepthToSpace SpaceToDepth Dropout ReverseSequence Unique Compress
    CenterCropPad Col2Im SequenceEmpty SequenceConstruct SequenceInsert SequenceErase SequenceAt SequenceLength
    SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement TensorScatter
    HannWindow HammingWindow BlackmanWindow RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Multinomial Bernoulli
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu
    QLinearSoftmax QLinearAveragePool QLinearGlobalAveragePool QLinearConcat
"""
# Features and the names of classes. Trees and support vectors are not listed: MACs do not describe their work.
_ONNX_ML = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    Normalizer OneHotEncoder Scaler ZipMap
"""
ONNX = {**dict.fromkeys(("", "com.microsoft"), frozenset(_ONNX.split())), "ai.onnx.ml": frozenset(_ONNX_ML.split())}
"""Operators of an ONNX graph without MACs by domain: the standard's, onnxruntime's, and that of classical models."""
