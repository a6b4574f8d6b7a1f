"""The package as it is installed: its folders, its version, its data, its names."""
import configparser
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numtorch
from numtorch.utils.data import DataLoader
from numtorch.vision.datasets import Digits, VisionDataset

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def config():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_is_in_the_package_list(config):
    """setup.cfg names every folder with modules, and no other: a forgotten one works in a checkout and not when installed."""
    listed = set(config["options"]["packages"].split())
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "numtorch").rglob("__init__.py")}
    assert listed == found | {"numtorch.kernels"}
    for name in listed - {"numtorch.kernels"}:
        assert (ROOT / Path(*name.split(".")) / "__init__.py").exists(), name


def test_no_module_lies_outside_a_package():
    """Every Python file of the library is in a folder with an __init__.py."""
    for path in (ROOT / "numtorch").rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), path


def test_every_module_imports():
    """Each module can be imported first, in any process: none relies on another having been imported before it."""
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in sorted((ROOT / "numtorch").rglob("*.py"))
             if p.name not in ("__init__.py", "__main__.py")]
    names += [f"numtorch.kernels.{p.stem}" for p in sorted((ROOT / "kernels").glob("*.py")) if p.stem != "__init__" and
              not p.stem.startswith(("_cuda_numba", "_cuda_intrinsics"))]       # the compiler's side needs the cuda extra
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)"
    for order in (names, names[::-1]):
        done = subprocess.run([sys.executable, "-c", code, *order], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


def test_requirements_are_few(config):
    """What pip installs along with numtorch; PyTorch only as a yardstick."""
    words = config["options"]["install_requires"].split()
    assert [w.split(">=")[0] for w in words] == ["numpy", "numba", "ml_dtypes", "tqdm", "pillow"]
    assert config["options.extras_require"]["parity"].strip() == "torch==2.13.0"
    assert {"cuda", "cuda-math", "demo", "test", "parity", "dev"} == set(config["options.extras_require"])


def test_pyproject_holds_only_the_build_system():
    """All metadata and tool settings are in setup.cfg."""
    sections = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("[")]
    assert sections == ["[build-system]"]


def test_types_are_announced():
    """py.typed lies in the package."""
    assert Path(numtorch.__file__).with_name("py.typed").exists()


def test_names_that_do_not_exist_say_so():
    """A name that numtorch lacks ends in an AttributeError with the module's name."""
    with pytest.raises(AttributeError, match="module 'numtorch' has no attribute 'nonsense'"):
        _ = numtorch.nonsense
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = numtorch.vision.nonsense
    with pytest.raises(AttributeError, match="there is no kernel family 'nonsense'"):
        _ = numtorch.kernels.nonsense


def test_the_example_of_the_readme(capsys):
    """The README's example prints what the README says it prints."""
    blocks = (ROOT / "README.md").read_text().split("```")
    code, output = blocks[1].removeprefix("python\n"), blocks[3].removeprefix("\n")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == output


# ---- Digits ------------------------------------------------------------------------------------------------------------

def test_digits_are_all_there():
    """1,797 images of counts from 0 to 16; the two parts together are the set, and every digit is in both."""
    train, test = Digits(train=True), Digits(train=False)
    assert (len(train), len(test)) == (1442, 355)
    assert train.data.shape == (1442, 8, 8) and train.data.dtype == numtorch.uint8
    assert int(train.data.max()) == 16 and int(train.data.min()) == 0
    counts = np.bincount(train.targets.numpy()) + np.bincount(test.targets.numpy())
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(test.targets.numpy()).min() >= 34


def test_the_parts_of_digits_do_not_overlap():
    """No training image is held out as well."""
    train = {image.tobytes() for image in Digits().data.numpy()}
    test = {image.tobytes() for image in Digits(train=False).data.numpy()}
    assert not train & test


def test_digits_items():
    """An item is a float32 image from 0 to 1 with a channel, and an int; the transforms see both."""
    digits = Digits(train=False, transform=lambda image: image * 2, target_transform=lambda digit: -digit)
    image, target = digits[3]
    assert image.shape == (1, 8, 8) and image.dtype == numtorch.float32
    assert numtorch.equal(image[0], digits.data[3].float() / 8)
    assert target == -int(digits.targets[3]) and type(target) is int
    assert digits[-1][1] == -int(digits.targets[-1])
    with pytest.raises(IndexError):
        digits[355]
    with pytest.raises(TypeError, match="index must be an int"):
        digits[:3]


def test_digits_print_as_torchvision_prints():
    """The printed form names the set, its size and its part; classes have names and numbers."""
    assert repr(Digits("somewhere", train=False)) == (
        "Dataset Digits\n    Number of datapoints: 355\n    Root location: somewhere\n    Split: Test")
    assert Digits.classes[7] == "7 - seven" and Digits().class_to_idx["7 - seven"] == 7


def test_digits_go_through_a_data_loader_and_pickle():
    """Batches are stacked images and a vector of digits; a copy made by pickle has the same items."""
    images, targets = next(iter(DataLoader(Digits(), batch_size=5)))
    assert images.shape == (5, 1, 8, 8) and targets.shape == (5,) and targets.dtype == numtorch.int64
    copy = pickle.loads(pickle.dumps(Digits()))
    assert numtorch.equal(copy[7][0], Digits()[7][0])


def test_vision_dataset_takes_one_kind_of_transforms():
    """transforms beside transform is refused, as in torchvision."""
    with pytest.raises(ValueError, match="Only transforms or transform/target_transform"):
        VisionDataset(transforms=lambda a, b: (a, b), transform=lambda a: a)
