"""numtorch.vision.models: names, numbers of parameters and first values as torchvision's, results, gradients, weights."""
import copy
import hashlib
import inspect
import math
import pickle
import warnings

import numpy as np
import pytest

import numtorch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.vision import models
from numtorch.vision.models import _api, _meta, _utils, densenet, mobilenetv2, resnet, vgg
from numtorch.vision.models.googlenet import rescaled

# From torchvision 0.28: parameters; entries of the state_dict and a digest of their names and shapes; and after manual_seed(0)
# the first number of the first weight, the last of the last weight, and the next random number.
TORCHVISION = {
    "alexnet": (61100840, 16, "214045a0", -0.00039295616443268955, 0.012834049761295319, 0.7509141564369202),
    "densenet121": (7978856, 727, "d52aa585", -0.12478066980838776, 0.021178897470235825, 0.8329770565032959),
    "densenet161": (28681000, 967, "726b4d40", -0.16111145913600922, -0.013362054713070393, 0.4280734658241272),
    "densenet169": (14149480, 1015, "04c0da21", 0.000478296831715852, 0.020967867225408554, 0.9940922260284424),
    "densenet201": (20013928, 1207, "8fd3fcb6", -0.10663965344429016, 0.013601685874164104, 0.2960076332092285),
    "googlenet": (13004888, 364, "e2cf6c5e", 0.014252029359340668, -0.010772598907351494, 0.2659105062484741),
    "inception_v3": (27161264, 580, "68f61e7f", 0.09150335192680359, 0.008079254999756813, 0.445178747177124),
    "mobilenet_v2": (3504872, 314, "5c45000c", 0.004847908392548561, -0.015114090405404568, 0.11449718475341797),
    "resnet101": (44549160, 626, "0e9191dd", 0.0003773312782868743, 0.00014917613589204848, 0.9655923843383789),
    "resnet152": (60192808, 932, "47360b60", 0.013286997564136982, 0.007442608941346407, 0.561891496181488),
    "resnet18": (11689512, 122, "761022b2", 0.024109674617648125, 0.03513889014720917, 0.8865256309509277),
    "resnet34": (21797672, 218, "1a060aca", -0.007496272213757038, -0.009804284200072289, 0.7167012095451355),
    "resnet50": (25557032, 320, "3fa57287", -0.05855070427060127, 0.010016174986958504, 0.6515359282493591),
    "resnext101_32x8d": (88791336, 626, "07e967fd", 0.021796422079205513, 1.8805396393872797e-05, 0.54596346616745),
    "resnext101_64x4d": (83455272, 626, "ea9d27ea", -0.027823494747281075, 0.004745216108858585, 0.5217700004577637),
    "resnext50_32x4d": (25028904, 320, "01e2eaa8", -0.007886809296905994, -0.0016778897261247039, 0.6964042782783508),
    "squeezenet1_0": (1248424, 52, "dc8fa2e3", 0.07090853154659271, -0.01360251847654581, 0.5727173089981079),
    "squeezenet1_1": (1235496, 52, "9879b1f2", 0.35232090950012207, -0.0186225064098835, 0.6170943975448608),
    "vgg11": (132863336, 22, "a4a2a4a8", 0.04816325008869171, 0.004403834231197834, 0.1883595585823059),
    "vgg11_bn": (132868840, 62, "6aaf84aa", 0.04816325008869171, 0.004403834231197834, 0.1883595585823059),
    "vgg13": (133047848, 26, "9dc9518e", -0.028204025700688362, -0.008649537339806557, 0.6020472049713135),
    "vgg13_bn": (133053736, 76, "9a11dd99", -0.028204025700688362, -0.008649537339806557, 0.6020472049713135),
    "vgg16": (138357544, 32, "6f36a6fd", -0.07890325784683228, -0.003643414005637169, 0.8903520107269287),
    "vgg16_bn": (138365992, 97, "5f99e428", -0.07890325784683228, -0.003643414005637169, 0.8903520107269287),
    "vgg19": (143667240, 38, "e05a894c", 0.07611458748579025, -0.009373982436954975, 0.6319534778594971),
    "vgg19_bn": (143678248, 118, "4c042cc9", 0.07611458748579025, -0.009373982436954975, 0.6319534778594971),
    "wide_resnet101_2": (126886696, 626, "e730908d", 0.01674269512295723, 0.012025631032884121, 0.005696117877960205),
    "wide_resnet50_2": (68883240, 320, "07e4b58a", -0.031301531940698624, -0.013932212255895138, 0.5394386649131775),
}
SMALL = sorted(name for name, row in TORCHVISION.items() if row[0] < 14e6)


@pytest.fixture(autouse=True)
def without_start_warnings():
    """GoogLeNet and Inception warn of their slow start wherever they are made without init_weights."""
    warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)


@pytest.fixture
def unset(monkeypatch):
    """Models whose parameters are not filled: their memory is never touched."""
    for name in ("uniform_", "normal_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)


@pytest.fixture
def zeros(monkeypatch):
    """Models whose parameters are all 0 instead of drawn."""
    for name in ("uniform_", "normal_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: nn.init.zeros_(tensor))


@pytest.fixture
def torchvision():
    """torchvision, where it is installed together with its torch."""
    try:
        import torchvision
    except (ImportError, RuntimeError):     # RuntimeError: built for another torch
        pytest.skip("torchvision is not installed")
    return torchvision


# ---- structure ----

def test_every_model_is_listed():
    """list_models gives the models of the table, all of them functions of the package."""
    assert models.list_models() == models.list_models(models) == sorted(TORCHVISION)
    assert all(callable(vars(models)[name]) for name in TORCHVISION)
    assert models.list_models(include="vgg*", exclude="*_bn") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert models.list_models(include=["alex*", "squeeze*"], exclude=["*0", "x*"]) == ["alexnet", "squeezenet1_1"]
    assert models.list_models(math) == []


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_parameters_are_torchvisions(unset, name):
    """The number of parameters, and the names and shapes of the whole state_dict in their order."""
    count, entries, digest, *_ = TORCHVISION[name]
    model = models.get_model(name)
    state = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) == count and len(state) == entries
    text = "".join(f"{key} {tuple(x.shape)}\n" for key, x in state.items())
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == digest
    assert count - models.get_model_weights(name).DEFAULT.meta["num_params"] == (6379984 if name == "googlenet" else 0)


@pytest.mark.parametrize("name", SMALL)
def test_first_values_are_torchvisions(name):
    """The same seed gives the same weights, and leaves the generator in the same state."""
    *_, first, last, after = TORCHVISION[name]
    model = models.get_model(name)
    weights = [p for p in model.parameters() if p.dim() > 1]
    assert weights[0].flatten()[0].item() == pytest.approx(first, rel=1e-5)
    assert weights[-1].flatten()[-1].item() == pytest.approx(last, rel=1e-5)
    assert numtorch.rand(1).item() == after


def test_vggs_first_values(monkeypatch):
    """VGG's convolutions begin as He's by their outputs, its linear layers at 0.01, all biases at 0; or as the layers begin."""
    drawn = []
    for name in ("uniform_", "normal_", "kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda x, *args, _name=name, **kwargs: drawn.append((_name, *args, kwargs)))
    model = vgg.VGG(vgg.make_layers([4, "M"], batch_norm=True), num_classes=2)
    assert drawn[-4:] == [("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}), *[("normal_", 0, 0.01, {})] * 3]
    assert all((m.bias == 0).all() for m in model.modules() if getattr(m, "bias", None) is not None)
    drawn.clear()
    vgg.VGG(vgg.make_layers([4, "M"]), num_classes=2, init_weights=False)
    assert len(drawn) == 8 and {name for name, *_ in drawn} == {"uniform_", "kaiming_uniform_"}


def test_printing():
    """A model prints as torchvision's does."""
    assert str(models.squeezenet1_1(num_classes=3)).splitlines()[:7] == [
        "SqueezeNet(", "  (features): Sequential(", "    (0): Conv2d(3, 64, kernel_size=(3, 3), stride=(2, 2))",
        "    (1): ReLU(inplace=True)",
        "    (2): MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=True)",
        "    (3): Fire(", "      (squeeze): Conv2d(64, 16, kernel_size=(1, 1), stride=(1, 1))"]


# ---- results and gradients ----

@pytest.mark.parametrize("name, size", [
    ("resnet18", 33), ("resnet50", 32), ("mobilenet_v2", 32), ("squeezenet1_0", 32), ("squeezenet1_1", 17), ("densenet121", 32)])
def test_a_training_step(name, size):
    """(N, 3, H, W) gives (N, classes); every parameter gets a finite gradient that is not all 0."""
    model = models.get_model(name, num_classes=5)
    out = model(numtorch.randn(2, 3, size, size))
    assert out.shape == (2, 5)
    F.cross_entropy(out, numtorch.tensor([0, 3])).backward()
    for key, p in model.named_parameters():
        assert p.grad.isfinite().all() and (name.startswith("squeeze") or (p.grad != 0).any()), key


@pytest.mark.parametrize("name, size", [("alexnet", 63), ("vgg11", 32), ("vgg11_bn", 40), ("googlenet", 64)])
def test_shapes_of_large_models(zeros, name, size):
    """(N, 3, H, W) gives (N, classes)."""
    model = models.get_model(name, num_classes=3).eval()
    with numtorch.no_grad():
        assert model(numtorch.zeros(1, 3, size, size)).shape == (1, 3)


def test_inception_in_training(zeros):
    """In training it returns both classifiers' results by name, in evaluation, or without the second one, a tensor."""
    model = models.inception_v3(num_classes=4, transform_input=True)
    x = numtorch.zeros(2, 3, 80, 80)
    with numtorch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.AuxLogits, "forward", lambda x: x.mean((2, 3))[:, :4])     # it needs 17 x 17, that is 299 x 299
        out = model(x)
        assert type(out) is models.inception.InceptionOutputs and out.logits.shape == out.aux_logits.shape == (2, 4)
        assert model.eval()(x).shape == (2, 4)
    assert models.inception_v3(aux_logits=False).AuxLogits is None
    with pytest.raises(ValueError, match="length of inception_blocks should be 7 instead of 2"):
        models.inception_v3(inception_blocks=[1, 2])


def test_googlenet_in_training(zeros):
    """In training it returns three classifiers' results by name; how the weights begin is warned of."""
    with pytest.warns(FutureWarning, match="weight initialization of GoogleNet will be changed"):
        model = models.googlenet(num_classes=4)
    with numtorch.no_grad():
        out = model(numtorch.zeros(2, 3, 64, 64))
    assert out._fields == ("logits", "aux_logits2", "aux_logits1") and [x.shape for x in out] == [(2, 4)] * 3
    with pytest.raises(ValueError, match="blocks length should be 3 instead of 1"):
        models.googlenet(blocks=[1], init_weights=True)


def test_rescaled_input():
    """transform_input takes images from ImageNet's normalisation to (x - 0.5) / 0.5."""
    mean, deviation = np.array(_presets_mean()), np.array(_presets_std())
    image = np.random.RandomState(0).rand(2, 3, 4, 5)
    x = (image - mean[:, None, None]) / deviation[:, None, None]
    got = rescaled(numtorch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, (image - 0.5) / 0.5, rtol=1e-12, atol=1e-12)


def _presets_mean():
    return inspect.signature(_meta.ImageClassification).parameters["mean"].default


def _presets_std():
    return inspect.signature(_meta.ImageClassification).parameters["std"].default


@pytest.mark.parametrize("block", [resnet.BasicBlock, resnet.Bottleneck])
def test_gradients_of_a_resnet(block):
    """A step along the gradient changes the loss by the step's length times the gradient's, to 2 %."""
    model = resnet.ResNet(block, [1, 1, 1, 1], num_classes=3).eval()
    x, target, start = numtorch.randn(1, 3, 17, 17), numtorch.tensor([2]), copy.deepcopy(model.state_dict())
    F.cross_entropy(model(x), target).backward()
    gradients = {key: p.grad for key, p in model.named_parameters()}
    length = math.sqrt(sum(g.square().sum().item() for g in gradients.values()))
    losses = []
    for step in (1e-3, -1e-3):
        model.load_state_dict({key: p + step / length * gradients[key] if key in gradients else p for key, p in start.items()})
        with numtorch.no_grad():
            losses.append(F.cross_entropy(model(x), target).item())
    assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(length, rel=0.02)


def test_residual_blocks():
    """A block adds its input, brought to the output's shape, before the last ReLU: computed with NumPy in float64."""
    down = nn.Sequential(resnet.conv1x1(2, 3, 2), nn.BatchNorm2d(3))
    block = resnet.BasicBlock(2, 3, stride=2, downsample=down).eval()
    x = numtorch.randn(1, 2, 6, 6)

    def conv(x, w, stride):
        pad = w.shape[2] // 2
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))[:, :, ::stride, ::stride]
        return np.einsum("nchwij,ocij->nohw", windows, w)

    scale = 1 / math.sqrt(1 + 1e-5)     # of a BatchNorm that has seen nothing
    image, w1, w2, wd = (a.detach().double().numpy() for a in (x, block.conv1.weight, block.conv2.weight, down[0].weight))
    want = np.maximum(conv(np.maximum(conv(image, w1, 2) * scale, 0), w2, 1) * scale + conv(image, wd, 2) * scale, 0)
    np.testing.assert_allclose(block(x).detach().numpy(), want, rtol=1e-5, atol=1e-6)


def test_constructor_arguments():
    """Arguments reach the layers: dilation, groups, normalisation, dropout, width, stages."""
    net = models.resnet50(replace_stride_with_dilation=[False, True, True], norm_layer=lambda n: nn.GroupNorm(2, n),
                          zero_init_residual=True, num_classes=2)
    assert net.layer4[1].conv2.dilation == (4, 4) and net.layer3[0].conv2.stride == (1, 1)
    assert isinstance(net.bn1, nn.GroupNorm) and net(numtorch.randn(1, 3, 32, 32)).shape == (1, 2)
    net = models.resnet18(zero_init_residual=True)
    assert (net.layer2[1].bn2.weight == 0).all() and (net.layer2[1].bn1.weight == 1).all()
    assert models.resnext50_32x4d(num_classes=2).layer1[0].conv2.groups == 32
    net = models.mobilenet_v2(width_mult=0.5, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]], dropout=0.7)
    assert net.features[0].out_channels == 16 and net.last_channel == 1280 and net.classifier[0].p == 0.7
    assert len(net.features) == 5 and not net.features[2].use_res_connect and net.features[3].use_res_connect
    assert models.squeezenet1_1(dropout=0.1).classifier[0].p == 0.1
    net = densenet.DenseNet(4, (2, 1), 8, bn_size=2, drop_rate=0.5, num_classes=2)
    assert net.features.denseblock1.denselayer2.conv1.weight.shape == (8, 12, 1, 1)
    assert net.features.transition1.conv.out_channels == 8 and net(numtorch.randn(2, 3, 32, 32)).shape == (2, 2)


@pytest.mark.parametrize("make, error, message", [
    (lambda: resnet.BasicBlock(4, 4, groups=2), ValueError, "BasicBlock only supports groups=1 and base_width=64"),
    (lambda: resnet.BasicBlock(4, 4, dilation=2), NotImplementedError, "Dilation > 1 not supported in BasicBlock"),
    (lambda: models.resnet18(replace_stride_with_dilation=[True]), ValueError, "3-element tuple, got [True]"),
    (lambda: models.resnext50_32x4d(groups=2), ValueError, "The parameter 'groups' expected value 32 but got 2 instead."),
    (lambda: mobilenetv2.InvertedResidual(3, 3, 3, 1), ValueError, "stride should be 1 or 2 instead of 3"),
    (lambda: models.mobilenet_v2(inverted_residual_setting=[]), ValueError, "should be non-empty or a 4-element list, got []"),
    (lambda: models.SqueezeNet("2"), ValueError, "Unsupported SqueezeNet version 2: 1_0 or 1_1 expected"),
    (lambda: models.densenet121(memory_efficient=True), NotImplementedError, "memory_efficient=False gives the same numbers"),
    (lambda: models.resnet18(depth=3), TypeError, "depth"),
    (lambda: models.get_model("resnet19"), ValueError, "Unknown model resnet19"),
    (lambda: models.resnet19, AttributeError, "numtorch does not have it yet; the nearest that it has is 'resnet1"),
    (lambda: models.get_weight("ResNet18_Weights"), ValueError, "Invalid weight name provided: 'ResNet18_Weights'."),
    (lambda: models.get_weight("ResNet19_Weights.DEFAULT"), ValueError, "The weight enum 'ResNet19_Weights' for the specific"),
    (lambda: models.get_weight("resnet.DEFAULT"), ValueError, "The weight enum 'resnet' for the specific"),
    (lambda: models.get_model_weights(len), ValueError, "The method is missing the 'weights' argument."),
    (lambda: models.get_model_weights(lambda weights: 1), ValueError, "couldn't be retrieved. Make sure the typing info"),
    (lambda: models.resnet18(weights="IMAGENET1K_V9"), KeyError, "ResNet18_Weights has no 'IMAGENET1K_V9'; it has"),
    (lambda: models.resnet18(weights=models.ResNet34_Weights.DEFAULT), TypeError,
     "Invalid Weight class provided; expected ResNet18_Weights but received ResNet34_Weights."),
    (lambda: models.resnet18(weights="DEFAULT", num_classes=2), ValueError,
     "The parameter 'num_classes' expected value 1000 but got 2 instead."),
    (lambda: models.resnet18(None, True, 3), TypeError, "resnet18() takes at most 2 positional arguments, but 3 were given"),
    (lambda: models.resnet18(None, weights=None), TypeError, "resnet18() got multiple values for argument 'weights'"),
    (lambda: _api.register_model()(models.resnet18), ValueError, "An entry is already registered under the name 'resnet18'."),
    (lambda: _utils.IntermediateLayerGetter(models.squeezenet1_1(), {"layer": "x"}), ValueError, "return_layers are not present"),
])
def test_errors(make, error, message):
    """Wrong arguments end in errors that name what was expected, in torchvision's words where it has some."""
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_small_helpers():
    """Channels are rounded to multiples, never down by more than a tenth; convolutions keep the size."""
    assert [_utils._make_divisible(v, 8) for v in (3, 11, 12, 37, 100)] == [8, 16, 16, 40, 104]
    assert _utils._make_divisible(3, 8, 16) == 16
    conv = mobilenetv2.Conv2dNormActivation(2, 3, (3, 5), dilation=(2, 1), norm_layer=None, activation_layer=nn.Tanh,
                                            inplace=None)
    assert len(conv) == 2 and conv[0].bias is not None and conv(numtorch.ones(1, 2, 7, 8)).shape == (1, 3, 7, 8)


# ---- weights ----

def test_weights_are_described():
    """Each member knows its address, numbers, classes and preset; its name, printing, copy and pickle are torchvision's."""
    member = models.ResNet50_Weights.IMAGENET1K_V2
    assert models.ResNet50_Weights.DEFAULT is member and repr(member) == str(member) == "ResNet50_Weights.IMAGENET1K_V2"
    assert member.url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    assert member.meta["num_params"] == 25557032 and member.meta["_metrics"]["ImageNet-1K"]["acc@1"] == 80.858
    assert len(member.meta["categories"]) == len(set(member.meta["categories"])) == 1000
    assert member.meta["categories"][:2] == ["tench", "goldfish"] and member.meta["categories"][-1] == "toilet tissue"
    assert member.transforms.keywords == {"crop_size": 224, "resize_size": 232}
    assert copy.deepcopy(member) is member and pickle.loads(pickle.dumps(member)) is member
    assert copy.deepcopy(member.value) == member.value != models.ResNet50_Weights.IMAGENET1K_V1.value
    assert models.get_weight("ResNet50_Weights.DEFAULT") is member
    assert models.get_model_weights("resnet50") is models.get_model_weights(models.resnet50) is models.ResNet50_Weights
    verify = models.ResNet50_Weights.verify
    assert verify(None) is None and verify("DEFAULT") is verify("ResNet50_Weights.IMAGENET1K_V2") is verify(member) is member
    for name in TORCHVISION:
        for weights in models.get_model_weights(name):
            assert weights.url.endswith(".pth") and len(weights.url.rsplit("-", 1)[1]) == 12


@pytest.fixture
def published(monkeypatch):
    """hub.load_state_dict_from_url gives what ``published`` returns for the address; its calls are listed."""
    from numtorch import hub

    def load(url, **kwargs):
        load.calls.append((url, kwargs))
        return load.state

    load.calls = []
    monkeypatch.setattr(hub, "load_state_dict_from_url", load)
    return load


def test_weights_are_loaded(published):
    """weights= takes a member or its name, checks the file, runs no code of it, and sets the number of classes."""
    source = models.squeezenet1_1()
    published.state = source.state_dict()
    for weights in (models.SqueezeNet1_1_Weights.DEFAULT, "DEFAULT", "SqueezeNet1_1_Weights.IMAGENET1K_V1"):
        model = models.squeezenet1_1(weights=weights, progress=False, dropout=0.2)
        assert all(numtorch.equal(a, b) for a, b in zip(model.state_dict().values(), source.state_dict().values()))
        assert model.classifier[0].p == 0.2
    assert published.calls == [(models.SqueezeNet1_1_Weights.DEFAULT.url,
                                {"progress": False, "check_hash": True, "weights_only": True})] * 3
    assert models.get_model("squeezenet1_1", weights="DEFAULT").num_classes == 1000


def test_vgg_with_weights_draws_no_others(published, unset, monkeypatch):
    """With weights VGG's layers keep what they begin with until these are loaded."""
    monkeypatch.setattr(vgg, "_initialise", lambda module: pytest.fail("weights were drawn"))
    published.state = vgg.VGG(vgg.make_layers(vgg.cfgs["A"]), init_weights=False).state_dict()
    assert models.vgg11(weights="DEFAULT").classifier[6].out_features == 1000
    assert models.VGG16_Weights.IMAGENET1K_FEATURES.meta["categories"] is None


def test_densenets_old_names(published):
    """The published files say norm.1 where the layer is norm1 today."""
    state = models.densenet121().state_dict()
    published.state = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): x for key, x in state.items()}
    assert "features.denseblock1.denselayer1.conv.2.weight" in published.state
    got = models.densenet121(weights="DEFAULT").state_dict()
    assert all(numtorch.equal(got[key], x) for key, x in state.items())


def test_classifiers_in_the_middle_with_weights(published, unset):
    """GoogLeNet drops them unless asked for, Inception keeps them unless asked not to; the input is rescaled unless said."""
    published.state = models.googlenet().state_dict()
    model = models.googlenet(weights="DEFAULT")
    assert model.aux1 is None and model.aux2 is None and not model.aux_logits and model.transform_input
    with pytest.warns(UserWarning, match="auxiliary heads in the pretrained googlenet model are NOT pretrained"):
        model = models.googlenet(weights="DEFAULT", aux_logits=True, transform_input=False)
    assert model.aux1 is not None and not model.transform_input
    published.state = models.inception_v3().state_dict()
    assert models.inception_v3(weights="DEFAULT").AuxLogits is not None
    model = models.inception_v3(weights="DEFAULT", aux_logits=False)
    assert model.AuxLogits is None and not model.aux_logits and model.transform_input


def _messages(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(w.category is UserWarning and w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


OLD = ("Arguments other than a weight enum or `None` for 'weights' are deprecated since 0.13 and may be removed in the future. "
       "The current behavior is equivalent to passing `weights={}`.")
ADVICE = " You can also use `weights=SqueezeNet1_1_Weights.DEFAULT` to get the most up-to-date weights."
V1 = "SqueezeNet1_1_Weights.IMAGENET1K_V1"
RENAMED = "The parameter 'pretrained' is deprecated since 0.13 and may be removed in the future, please use 'weights' instead."


def test_pretrained(published):
    """pretrained=True means IMAGENET1K_V1; by name or by position, it warns at the caller's line as torchvision does."""
    net = models.squeezenet1_1
    published.state = net().state_dict()
    assert _messages(lambda: net(pretrained=True)) == [RENAMED, OLD.format(V1) + ADVICE]
    assert _messages(lambda: net(pretrained=False)) == [RENAMED, OLD.format(None)]
    by_position = ("Using {} as positional parameter(s) is deprecated since 0.13 and may be removed in the future. Please use "
                   "keyword parameter(s) instead.")
    assert _messages(lambda: net(True, False)) == [by_position.format("'weights' and 'progress'"), OLD.format(V1) + ADVICE]
    assert _messages(lambda: net(False)) == [by_position.format("'weights'"), OLD.format(None)]
    assert _messages(lambda: net(None)) == [by_position.format("'weights'")]
    assert _messages(lambda: net(weights="DEFAULT")) == _messages(net) == []
    assert [kwargs["progress"] for _, kwargs in published.calls] == [True, False, True]


def test_programs_register_models_of_their_own(monkeypatch):
    """register_model and handle_legacy_interface serve functions written as torchvision's are."""
    monkeypatch.setattr(_api, "BUILTIN_MODELS", dict(_api.BUILTIN_MODELS))

    @_api.register_model("own")
    @_utils.handle_legacy_interface(weights=("pretrained", lambda kwargs: None),
                                    body=("pretrained_body", models.ResNet18_Weights.DEFAULT))
    def build(width, *, weights: models.ResNet18_Weights | None = None, body: models.ResNet18_Weights | None = None, **kwargs):
        return width, weights, body, kwargs

    assert models.get_model("OWN", width=3, depth=1) == (3, None, None, {"depth": 1})
    assert models.get_model_weights("own") is models.ResNet18_Weights
    with pytest.warns(UserWarning) as caught:
        assert build(2, pretrained_body=True) == (2, None, models.ResNet18_Weights.DEFAULT, {})
    assert len(caught) == 2 and "'pretrained_body' is deprecated" in str(caught[0].message)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="No weights available for model build"):
        build(2, pretrained=True)


def test_a_published_file(tmp_path, monkeypatch):
    """From an address to a model: downloaded to torch's folder, its digest checked, read with numtorch.load."""
    serialization = pytest.importorskip("numtorch.serialization")
    from numtorch import hub

    source = models.squeezenet1_1()
    serialization.save(source.state_dict(), tmp_path / "file")
    digest = hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()[:8]
    path = (tmp_path / "file").rename(tmp_path / f"net-{digest}.pth")
    monkeypatch.setattr(models.SqueezeNet1_1_Weights.DEFAULT.value, "url", path.as_uri())
    monkeypatch.setattr(hub, "_folder", str(tmp_path / "hub"))
    model = models.squeezenet1_1(weights="DEFAULT", progress=False)
    assert (tmp_path / "hub" / "checkpoints" / path.name).exists()
    assert all(numtorch.equal(a, b) for a, b in zip(model.state_dict().values(), source.state_dict().values()))
    bad = path.rename(tmp_path / "other-00000000.pth")
    monkeypatch.setattr(models.SqueezeNet1_1_Weights.DEFAULT.value, "url", bad.as_uri())
    with pytest.raises(RuntimeError, match=f'expected "00000000", got "{digest}'):
        models.squeezenet1_1(weights="DEFAULT", progress=False)


def test_the_preset():
    """transforms() resizes the shorter side, cuts the middle out, scales and normalises an image of one colour; its text."""
    pytest.importorskip("numtorch.vision.transforms")
    image = pytest.importorskip("PIL.Image").new("RGB", (60, 40), (51, 102, 204))
    preset = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    mean, deviation = np.array(_presets_mean()), np.array(_presets_std())
    want = np.broadcast_to(((np.array([51, 102, 204]) / 255 - mean) / deviation)[:, None, None], (3, 224, 224))
    for x in (image, numtorch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())):
        got = preset(x)
        assert got.shape == (3, 224, 224) and got.dtype is numtorch.float32
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-6)
    assert repr(preset) == ("ImageClassification(\n    crop_size=[224]\n    resize_size=[256]\n    mean=[0.485, 0.456, 0.406]\n"
                            "    std=[0.229, 0.224, 0.225]\n    interpolation=InterpolationMode.BILINEAR\n)")
    assert "followed by a central crop of ``crop_size=[224]``" in preset.describe()


def test_layers_of_a_model():
    """IntermediateLayerGetter keeps the layers up to the last one that is wanted, and gives their results by name."""
    model = models.resnet18().eval()
    getter = _utils.IntermediateLayerGetter(model, {"layer1": "low", "layer2": "high"})
    assert list(getter) == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2"]
    x = numtorch.randn(1, 3, 32, 32)
    with numtorch.no_grad():
        low = model.layer1(model.maxpool(model.relu(model.bn1(model.conv1(x)))))
        found = getter(x)
        assert list(found) == ["low", "high"] and numtorch.equal(found["low"], low)
        assert numtorch.equal(found["high"], model.layer2(low))


# ---- with torchvision ----

def test_as_torchvision_signatures(torchvision):
    """Functions and classes have torchvision's arguments and defaults; weights its addresses, numbers and presets."""
    theirs = torchvision.models

    def arguments(function):
        return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]

    for name in TORCHVISION:
        assert arguments(vars(models)[name]) == arguments(vars(theirs)[name])
        for ours, other in zip(models.get_model_weights(name), theirs.get_model_weights(name), strict=True):
            assert repr(ours) == repr(other) and ours.url == other.url
            assert {**repr_values(ours.meta)} == {k: v for k, v in repr_values(other.meta).items() if k != "_docs"}
            assert ours.transforms.keywords == other.transforms.keywords
    for name in ("AlexNet", "VGG", "ResNet", "MobileNetV2", "SqueezeNet", "DenseNet", "GoogLeNet", "Inception3"):
        assert arguments(vars(models)[name]) == arguments(vars(theirs)[name])
    for name in ("BasicBlock", "Bottleneck", "conv3x3", "conv1x1"):
        assert arguments(vars(resnet)[name]) == arguments(vars(theirs.resnet)[name])


def repr_values(meta):
    return {key: repr(value) for key, value in meta.items()}    # nan is not equal to nan


@pytest.mark.parametrize("name", SMALL)
def test_as_torchvision_numbers(torchvision, name):
    """The same seed gives torchvision's weights; these, in float64, its results and gradients (to 1e-9 and 1e-6); same text."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs, ours = torchvision.models.get_model(name), models.get_model(name)
    assert str(ours) == str(theirs)
    for (key, a), (other, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert key == other
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7, err_msg=key)
    x = np.random.RandomState(1).randn(2, 3, 64, 64)
    dropouts = any(isinstance(m, nn.Dropout) and m.p > 0 for m in ours.modules())
    ours, theirs = ours.double(), theirs.double()
    for train in (False,) if dropouts else (False, True):
        a, b = ours.train(train)(numtorch.from_numpy(x)), theirs.train(train)(torch.from_numpy(x))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=0, atol=1e-9 * b.abs().max().item())
    a.square().mean().backward()
    b.square().mean().backward()
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if q.grad is None:
            assert p.grad is None, key
        else:
            assert np.abs(p.grad.numpy() - q.grad.numpy()).max() <= 1e-6 * (q.grad.abs().max().item() + 1e-9), key
