"""Every layer against torch: printed form, state dict, initial values from the same seed, outputs and gradients."""
import inspect
import warnings

import numpy as np
import pytest

import numtorch as nt
from numtorch import nn

torch = pytest.importorskip("torch")


def F(*shape, low=-1.0, high=1.0, grad=True, dtype=np.float32, seed=0):
    """A floating input."""
    rng = np.random.default_rng(sum(shape) + seed)
    return ("float", rng.uniform(low, high, shape).astype(dtype), grad)


def I(*shape, low=0, high=4):      # noqa: E743 - beside T, as in ops_db
    """An int64 input."""
    return ("int", np.random.default_rng(sum(shape)).integers(low, high, shape), False)


def sign(*shape):
    """An input of 1 and -1."""
    return ("float", np.sign(np.random.default_rng(1).uniform(-1, 1, shape)).astype(np.float32), False)


# (name, constructor arguments, keywords, inputs)
LAYERS = [
    ("Identity", (), {}, [F(3, 4)]),
    ("Linear", (4, 3), {}, [F(5, 4)]),
    ("Linear", (4, 3), {"bias": False}, [F(2, 5, 4)]),
    ("Linear", (4, 3), {}, [F(4)]),
    ("Bilinear", (3, 4, 2), {}, [F(5, 3), F(5, 4, seed=1)]),
    ("Bilinear", (3, 4, 2), {"bias": False}, [F(5, 3), F(5, 4, seed=1)]),
    ("Flatten", (), {}, [F(2, 3, 4)]),
    ("Flatten", (0, 1), {}, [F(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [F(4, 6)]),
    ("Conv1d", (2, 4, 3), {}, [F(2, 2, 9)]),
    ("Conv1d", (2, 4, 3), {"padding": "same", "dilation": 2, "padding_mode": "reflect"}, [F(2, 2, 9)]),
    ("Conv2d", (2, 4, 3), {}, [F(2, 2, 7, 8)]),
    ("Conv2d", (2, 4, (3, 2)), {"stride": 2, "padding": (1, 2), "bias": False}, [F(2, 2, 7, 8)]),
    ("Conv2d", (4, 4, 3), {"groups": 2, "padding": 1, "padding_mode": "circular"}, [F(2, 4, 7, 8)]),
    ("Conv2d", (2, 4, 3), {"padding": "valid", "padding_mode": "replicate"}, [F(2, 7, 8)]),
    ("Conv2d", (2, 4, 4), {"padding": "same", "padding_mode": "replicate"}, [F(1, 2, 7, 8)]),
    ("Conv3d", (2, 3, 2), {}, [F(1, 2, 4, 5, 4)]),
    ("ConvTranspose1d", (2, 3, 3), {"stride": 2, "output_padding": 1}, [F(2, 2, 5)]),
    ("ConvTranspose2d", (2, 4, 3), {"stride": 2, "padding": 1, "groups": 2}, [F(2, 2, 4, 5)]),
    ("ConvTranspose2d", (2, 4, 3), {"dilation": 2, "bias": False}, [F(2, 4, 5)]),
    ("ConvTranspose3d", (2, 3, 2), {"stride": 2}, [F(1, 2, 3, 2, 3)]),
    ("MaxPool1d", (2,), {}, [F(2, 3, 9)]),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, [F(2, 3, 8, 9)]),
    ("MaxPool2d", (2,), {"return_indices": True}, [F(2, 3, 8, 9)]),
    ("MaxPool3d", (2,), {"dilation": 1}, [F(2, 3, 4, 5, 6)]),
    ("MaxUnpool2d", (2,), {}, [F(1, 1, 2, 2), ("int", np.array([[[[0, 3], [9, 15]]]]), False)]),
    ("AvgPool1d", (3,), {"stride": 2}, [F(2, 3, 9)]),
    ("AvgPool2d", (3,), {"padding": 1, "count_include_pad": False}, [F(2, 3, 8, 9)]),
    ("AvgPool3d", (2,), {"divisor_override": 3}, [F(2, 3, 4, 5, 6)]),
    ("LPPool1d", (2, 3), {}, [F(2, 3, 9, low=0.1)]),
    ("LPPool2d", (2, 2), {"stride": 1}, [F(2, 3, 5, 6, low=0.1)]),
    ("AdaptiveAvgPool1d", (4,), {}, [F(2, 3, 9)]),
    ("AdaptiveAvgPool2d", ((3, None),), {}, [F(2, 3, 8, 9)]),
    ("AdaptiveAvgPool3d", (2,), {}, [F(2, 3, 4, 5, 6)]),
    ("AdaptiveMaxPool1d", (4,), {}, [F(2, 3, 9)]),
    ("AdaptiveMaxPool2d", (3,), {"return_indices": True}, [F(2, 3, 8, 9)]),
    ("AdaptiveMaxPool3d", (2,), {}, [F(2, 3, 4, 5, 6)]),
    ("BatchNorm1d", (3,), {}, [F(6, 3)]),
    ("BatchNorm1d", (3,), {"momentum": None, "eps": 1e-3}, [F(6, 3, 4)]),
    ("BatchNorm2d", (3,), {}, [F(4, 3, 5, 6)]),
    ("BatchNorm2d", (3,), {"affine": False, "track_running_stats": False}, [F(4, 3, 5, 6)]),
    ("BatchNorm2d", (3,), {"bias": False}, [F(4, 3, 5, 6)]),
    ("BatchNorm3d", (3,), {"momentum": 0.3}, [F(4, 3, 2, 3, 2)]),
    ("SyncBatchNorm", (3,), {}, [F(4, 3, 5)]),
    ("InstanceNorm1d", (3,), {}, [F(2, 3, 7)]),
    ("InstanceNorm1d", (3,), {"affine": True}, [F(3, 7)]),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, [F(2, 3, 5, 6)]),
    ("InstanceNorm3d", (3,), {}, [F(2, 3, 4, 3, 2)]),
    ("LayerNorm", (6,), {}, [F(4, 6)]),
    ("LayerNorm", ((3, 6),), {"bias": False}, [F(4, 3, 6)]),
    ("LayerNorm", ([6],), {"elementwise_affine": False, "eps": 1e-3}, [F(4, 6)]),
    ("GroupNorm", (2, 6), {}, [F(3, 6, 4)]),
    ("GroupNorm", (3, 6), {"affine": False}, [F(3, 6)]),
    ("RMSNorm", (6,), {}, [F(4, 6)]),
    ("RMSNorm", ((3, 6),), {"eps": 1e-2, "elementwise_affine": False}, [F(4, 3, 6)]),
    ("LocalResponseNorm", (3,), {}, [F(2, 6, 4, 4)]),
    ("Embedding", (5, 3), {}, [I(2, 4)]),
    ("Embedding", (5, 3), {"padding_idx": -1, "max_norm": 1.0, "norm_type": 1.0, "scale_grad_by_freq": True}, [I(2, 4)]),
    ("EmbeddingBag", (5, 3), {}, [I(2, 4)]),
    ("EmbeddingBag", (5, 3), {"mode": "sum", "padding_idx": 1}, [I(6), ("int", np.array([0, 2, 2]), False)]),
    ("EmbeddingBag", (5, 3), {"mode": "max"}, [I(3, 2)]),
    ("ReLU", (), {}, [F(3, 4)]), ("ReLU", (True,), {}, [F(3, 4, grad=False)]),
    ("ReLU6", (), {}, [F(3, 4, high=9)]), ("ReLU6", (), {"inplace": True}, [F(3, 4, high=9, grad=False)]),
    ("LeakyReLU", (), {}, [F(3, 4)]), ("LeakyReLU", (0.2, True), {}, [F(3, 4, grad=False)]),
    ("PReLU", (), {}, [F(3, 4)]), ("PReLU", (4, 0.1), {}, [F(3, 4)]),
    ("RReLU", (), {}, [F(3, 4)]), ("RReLU", (0.2, 0.3, True), {}, [F(3, 4, grad=False)]),
    ("ELU", (), {}, [F(3, 4)]), ("ELU", (0.5, True), {}, [F(3, 4, grad=False)]),
    ("SELU", (), {}, [F(3, 4)]), ("CELU", (0.7,), {}, [F(3, 4)]),
    ("GELU", (), {}, [F(3, 4)]), ("GELU", ("tanh",), {}, [F(3, 4)]),
    ("SiLU", (), {}, [F(3, 4)]), ("SiLU", (True,), {}, [F(3, 4, grad=False)]), ("Mish", (), {}, [F(3, 4)]),
    ("Sigmoid", (), {}, [F(3, 4)]), ("Tanh", (), {}, [F(3, 4)]),
    ("Softplus", (), {}, [F(3, 4)]), ("Softplus", (2, 1), {}, [F(3, 4)]), ("Softsign", (), {}, [F(3, 4)]),
    ("Softshrink", (), {}, [F(3, 4)]), ("Hardshrink", (0.3,), {}, [F(3, 4)]),
    ("Hardtanh", (), {}, [F(3, 4, low=-2)]), ("Hardtanh", (-0.5, 0.7, True), {}, [F(3, 4, grad=False)]),
    ("Hardsigmoid", (), {}, [F(3, 4, low=-4, high=4)]), ("Hardswish", (True,), {}, [F(3, 4, grad=False)]),
    ("LogSigmoid", (), {}, [F(3, 4)]), ("Tanhshrink", (), {}, [F(3, 4)]),
    ("Threshold", (0.1, 20.0), {}, [F(3, 4)]), ("Threshold", (0.1, 20, True), {}, [F(3, 4, grad=False)]),
    ("GLU", (), {}, [F(3, 4)]), ("GLU", (0,), {}, [F(4, 3)]),
    ("Softmin", (1,), {}, [F(3, 4)]), ("Softmax", (), {"dim": 0}, [F(3, 4)]), ("Softmax2d", (), {}, [F(2, 3, 2, 2)]),
    ("LogSoftmax", (-1,), {}, [F(3, 4)]), ("Softmax", (), {}, [F(3, 4)]),
    ("ZeroPad1d", (2,), {}, [F(2, 3, 4)]), ("ZeroPad2d", ((1, 2, 0, 1),), {}, [F(2, 3, 4, 5)]),
    ("ZeroPad3d", (1,), {}, [F(1, 2, 3, 2, 3)]),
    ("ConstantPad1d", (2, 3.5), {}, [F(2, 3, 4)]), ("ConstantPad2d", ((1, -1, 2, 0), 7), {}, [F(2, 3, 4, 5)]),
    ("ConstantPad3d", (1, -1.0), {}, [F(1, 2, 3, 2, 3)]),
    ("ReflectionPad1d", (2,), {}, [F(2, 3, 4)]), ("ReflectionPad2d", ((1, 2, 0, 1),), {}, [F(2, 3, 4, 5)]),
    ("ReflectionPad3d", (1,), {}, [F(1, 2, 3, 2, 3)]),
    ("ReplicationPad1d", (2,), {}, [F(2, 3, 4)]), ("ReplicationPad2d", ((1, 2, 0, 1),), {}, [F(2, 3, 4, 5)]),
    ("ReplicationPad3d", (1,), {}, [F(1, 2, 3, 2, 3)]),
    ("CircularPad1d", (2,), {}, [F(2, 3, 4)]), ("CircularPad2d", ((1, 2, 0, 1),), {}, [F(2, 3, 4, 5)]),
    ("CircularPad3d", (1,), {}, [F(1, 2, 3, 2, 3)]),
    ("PixelShuffle", (2,), {}, [F(1, 8, 3, 2)]), ("PixelUnshuffle", (2,), {}, [F(1, 2, 4, 6)]),
    ("ChannelShuffle", (2,), {}, [F(1, 4, 2, 2)]),
    ("Upsample", (), {"scale_factor": 2}, [F(1, 2, 3, 4)]),
    ("Upsample", ((5, 6),), {"mode": "bilinear", "align_corners": True}, [F(1, 2, 3, 4)]),
    ("Upsample", (), {"scale_factor": (2, 3), "mode": "bicubic"}, [F(1, 2, 3, 4)]),
    ("UpsamplingNearest2d", (), {"size": 5}, [F(1, 2, 3, 4)]),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, [F(1, 2, 3, 4)]),
    ("Fold", ((4, 5), (2, 2)), {}, [F(1, 8, 12)]), ("Unfold", (2,), {"stride": 2, "padding": 1}, [F(1, 2, 4, 5)]),
    ("CosineSimilarity", (), {}, [F(4, 3), F(4, 3, seed=1)]),
    ("CosineSimilarity", (), {"dim": 0}, [F(4, 3), F(4, 3, seed=1)]),
    ("PairwiseDistance", (), {}, [F(4, 3), F(4, 3, seed=1)]),
    ("PairwiseDistance", (1.0,), {"keepdim": True}, [F(4, 3), F(4, 3, seed=1)]),
    ("MultiheadAttention", (8, 2), {}, [F(4, 3, 8), F(5, 3, 8), F(5, 3, 8, seed=1)]),
    ("MultiheadAttention", (8, 4), {"bias": False, "batch_first": True}, [F(3, 4, 8), F(3, 5, 8), F(3, 5, 8, seed=1)]),
    ("MultiheadAttention", (8, 2), {"add_bias_kv": True, "add_zero_attn": True}, [F(4, 8), F(5, 8), F(5, 8, seed=1)]),
    ("MultiheadAttention", (8, 2), {"kdim": 6, "vdim": 5}, [F(4, 3, 8), F(5, 3, 6), F(5, 3, 5)]),
    ("TransformerEncoderLayer", (8, 2, 16), {"dropout": 0.0}, [F(4, 3, 8)]),
    ("TransformerEncoderLayer", (8, 2, 16, 0.0, "gelu"), {"norm_first": True, "batch_first": True}, [F(4, 3, 8)]),
    ("TransformerDecoderLayer", (8, 2, 16), {"dropout": 0.0}, [F(4, 3, 8), F(5, 3, 8)]),
    ("Transformer", (8, 2, 2, 1, 16, 0.0), {}, [F(4, 3, 8), F(5, 3, 8)]),
    ("Transformer", (8, 2, 1, 2, 16, 0.0), {"batch_first": True, "norm_first": True, "bias": False},
     [F(3, 4, 8), F(3, 5, 8)]),
    ("L1Loss", (), {}, [F(3, 4), F(3, 4, seed=1)]), ("L1Loss", (), {"reduction": "none"}, [F(3, 4), F(3, 4, seed=1)]),
    ("MSELoss", (), {}, [F(3, 4), F(3, 4, seed=1)]), ("MSELoss", (), {"reduction": "sum"}, [F(3, 4), F(3, 4, seed=1)]),
    ("SmoothL1Loss", (), {"beta": 0.5}, [F(3, 4), F(3, 4, seed=1)]), ("HuberLoss", ("sum", 0.3), {}, [F(3, 4), F(3, 4, seed=1)]),
    ("SoftMarginLoss", (), {}, [F(3, 4), sign(3, 4)]),
    ("CrossEntropyLoss", (), {}, [F(5, 4), I(5)]),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.1, "ignore_index": 1}, [F(5, 4), I(5)]),
    ("CrossEntropyLoss", (), {"reduction": "none"}, [F(2, 4, 3), I(2, 3)]),
    ("CrossEntropyLoss", (), {}, [F(5, 4), F(5, 4, low=0, seed=2)]),
    ("NLLLoss", (), {"ignore_index": 1}, [F(5, 4), I(5)]),
    ("BCELoss", (), {}, [F(5, 4, low=0.1, high=0.9), F(5, 4, low=0, grad=False, seed=1)]),
    ("BCEWithLogitsLoss", (), {}, [F(5, 4), F(5, 4, low=0, seed=1)]),
    ("KLDivLoss", (), {"reduction": "batchmean"}, [F(5, 4), F(5, 4, low=0.1, seed=1)]),
    ("KLDivLoss", (), {"reduction": "sum", "log_target": True}, [F(5, 4), F(5, 4, seed=1)]),
    ("PoissonNLLLoss", (), {}, [F(5, 4), F(5, 4, low=0, high=5, seed=1, grad=False)]),
    ("PoissonNLLLoss", (), {"log_input": False, "full": True},
     [F(5, 4, low=0.1), F(5, 4, low=0, high=5, seed=1, grad=False)]),
    ("GaussianNLLLoss", (), {}, [F(5, 4), F(5, 4, seed=1), F(5, 4, low=0.1, seed=2)]),
    ("HingeEmbeddingLoss", (), {"margin": 0.5}, [F(3, 4), sign(3, 4)]),
    ("MultiLabelMarginLoss", (), {}, [F(2, 4), ("int", np.array([[3, 0, -1, 1], [1, 2, 0, -1]]), False)]),
    ("MultiLabelMarginLoss", (), {"reduction": "none"}, [F(4), ("int", np.array([3, -1, -1, 1]), False)]),
    ("MultiLabelSoftMarginLoss", (), {}, [F(3, 4), F(3, 4, low=0, grad=False)]),
    ("CosineEmbeddingLoss", (), {"margin": 0.1}, [F(3, 4), F(3, 4, seed=1), sign(3)]),
    ("MarginRankingLoss", (), {"margin": 0.2}, [F(3), F(3, seed=1), sign(3)]),
    ("MultiMarginLoss", (), {}, [F(5, 4), I(5)]), ("MultiMarginLoss", (2, 0.5), {}, [F(5, 4), I(5)]),
    ("TripletMarginLoss", (), {}, [F(3, 4), F(3, 4, seed=1), F(3, 4, seed=2)]),
    ("TripletMarginLoss", (0.5, 1), {"swap": True}, [F(3, 4), F(3, 4, seed=1), F(3, 4, seed=2)]),
    ("TripletMarginWithDistanceLoss", (), {"swap": True}, [F(3, 4), F(3, 4, seed=1), F(3, 4, seed=2)]),
    ("Dropout", (0.3,), {}, [F(4, 5)]), ("Dropout", (), {"p": 0.3, "inplace": True}, [F(4, 5, grad=False)]),
    ("Dropout1d", (), {}, [F(4, 5, 3)]), ("Dropout2d", (), {}, [F(4, 5, 3, 2)]), ("Dropout3d", (), {}, [F(2, 3, 2, 3, 2)]),
    ("AlphaDropout", (), {}, [F(4, 5)]), ("FeatureAlphaDropout", (), {}, [F(4, 5, 3)]),
    ("LazyLinear", (3,), {}, [F(5, 4)]), ("LazyConv2d", (3, 2), {}, [F(2, 4, 5, 5)]), ("LazyBatchNorm1d", (), {}, [F(5, 4)]),
    ("LazyConv1d", (4, 2), {"bias": False}, [F(2, 4, 5)]), ("LazyConv3d", (3, 2), {}, [F(1, 2, 3, 3, 3)]),
    ("LazyConvTranspose2d", (3, 2), {"stride": 2}, [F(2, 4, 5, 5)]), ("LazyConvTranspose1d", (3, 2), {}, [F(2, 4, 5)]),
    ("LazyConvTranspose3d", (3, 2), {}, [F(1, 2, 3, 3, 3)]),
    ("LazyBatchNorm2d", (), {"affine": False}, [F(2, 4, 5, 5)]), ("LazyInstanceNorm2d", (), {}, [F(2, 4, 5, 5)]),
    ("LazyInstanceNorm1d", (), {"affine": True}, [F(2, 4, 5)]), ("LazyBatchNorm3d", (), {}, [F(2, 4, 2, 3, 2)]),
]
DRAWS_ELSEWHERE = {"AlphaDropout", "FeatureAlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"}


def label(row):
    name, args, kwargs, _ = row
    return f"{name}{args}{kwargs}".replace(" ", "")


def tensors(library, inputs):
    """The inputs as tensors of either library."""
    found = []
    for _, array, grad in inputs:
        t = library.from_numpy(array.copy())
        found.append(t.requires_grad_() if grad else t)
    return found


def build(library, row):
    name, args, kwargs, _ = row
    library.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(library.nn, name)(*args, **kwargs)


def leaves(value):
    """All tensors in nested results."""
    if isinstance(value, (nt.Tensor, torch.Tensor)):
        return [value]
    return [t for v in (value or ()) for t in leaves(v)]


def close(ours, theirs, what, tolerance=2e-5):
    theirs = theirs.detach().numpy()
    assert tuple(ours.shape) == theirs.shape, what
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=tolerance, atol=tolerance, err_msg=what)


@pytest.mark.parametrize("row", LAYERS, ids=label)
def test_printed_form_and_initial_state_are_torch_s(row):
    """repr, the keys and shapes of the state dict, and every initial value from the same seed."""
    ours, theirs = build(nt, row), build(torch, row)
    assert repr(ours) == repr(theirs)
    if row[0].startswith("Lazy"):
        assert list(ours.state_dict()) == list(theirs.state_dict())
        return
    mine, reference = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(reference)
    assert mine._metadata == reference._metadata
    for key in mine:
        close(mine[key], reference[key], key, 1e-6)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("row", LAYERS, ids=label)
def test_outputs_gradients_and_buffers_are_torch_s(row, training):
    """Forward and backward on the same input; buffers after two calls."""
    results = []
    for library in (nt, torch):
        layer = build(library, row).train(training)
        library.manual_seed(3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer(*tensors(library, row[3]))
            inputs = tensors(library, row[3])
            outputs = leaves(layer(*inputs))
        loss = sum((o * library.from_numpy(np.linspace(-1, 1, o.numel(), dtype=np.float32).reshape(tuple(o.shape)))).sum()
                   for o in outputs if o.requires_grad)
        if isinstance(loss, (nt.Tensor, torch.Tensor)):
            loss.backward()
        results.append((layer, inputs, outputs))
    (ours, x, y), (theirs, tx, ty) = results
    assert len(y) == len(ty)
    assert repr(ours) == repr(theirs)
    if row[0] in DRAWS_ELSEWHERE and training:
        return
    for i, (a, b) in enumerate(zip(y, ty)):
        assert a.requires_grad == b.requires_grad
        close(a, b, f"output {i}")
    for i, (a, b) in enumerate(zip(x, tx)):
        assert (a.grad is None) == (b.grad is None), i
        if a.grad is not None:
            close(a.grad, b.grad, f"gradient of input {i}", 1e-4)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            close(a.grad, b.grad, f"gradient of {name}", 1e-4)
    for (name, a), (_, b) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        close(a, b, name)


def test_every_layer_of_torch_is_there():
    """Names in torch.nn that numtorch.nn lacks are those that are known to be missing."""
    missing = {n for n in torch.nn.modules.__all__ if not hasattr(nn, n)}
    assert missing <= {"AdaptiveLogSoftmaxWithLoss", "Container", "FractionalMaxPool2d", "FractionalMaxPool3d",
                       "LinearCrossEntropyLoss", "LinearCrossEntropyOptions"}


@pytest.mark.parametrize("name", sorted({row[0] for row in LAYERS}))
def test_constructor_and_forward_take_torch_s_arguments(name):
    """Names, order and defaults of the arguments of __init__ and forward."""
    for method in ("__init__", "forward"):
        ours, theirs = (inspect.signature(getattr(getattr(library.nn, name), method)) for library in (nt, torch))
        assert list(ours.parameters) == list(theirs.parameters), method
        for p in theirs.parameters.values():
            if p.default is not p.empty and not callable(p.default):
                assert ours.parameters[p.name].default == p.default, p.name


@pytest.mark.parametrize("row", [r for r in LAYERS if not r[0].startswith("Lazy")], ids=label)
def test_state_dict_travels_both_ways(row):
    """A layer's state loads into another of its kind; a key too many is named."""
    layer, other = build(nt, row), build(nt, row)
    assert repr(other.load_state_dict(layer.state_dict())) == "<All keys matched successfully>"
    with pytest.raises(RuntimeError, match='Unexpected key\\(s\\) in state_dict: "nonsense"'):
        other.load_state_dict({**layer.state_dict(), "nonsense": nt.zeros(1)})
