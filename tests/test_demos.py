"""demos/: every story is run in its --quick mode and must come to the end that it promises."""
import gzip
import importlib
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numtorch
from numtorch.utils.data import DataLoader

pytest.importorskip("matplotlib")
DEMOS = Path(__file__).parent.parent / "demos"
NAMES = sorted(path.stem for path in DEMOS.glob("*.py") if not path.name.startswith("_"))

# name -> the lowest and the highest figure of merit that will do, and words that must be printed
EXPECTED = {
    "character_gru": (0, 3.0, ["bits"]),                            # bits a character; about 5.5 before it has learnt
    "hessian": (0, 1e-9, ["Newton: 7 steps"]),                      # distance from the lowest point
    "hogwild": (0.8, 1, []),                                        # share of right answers, here and where no other is named
    "lenet_cifar10": (0.75, 1, []),
    "lenet_digits": (0.9, 1, []),
    "linear_regression": (0, 0.03, ["least squares: 1.99"]),    # error of weight and bias
    "mlp_fashion": (0.88, 1, []),
    "saving_and_loading": (0, 0, ["the table's sum 100", "same scores: True", "leaves the old file: True"]),    # difference
    "seq2seq_attention": (0.8, 1, []),
    "softmax_regression": (0.7, 1, []),
    "text_cnn": (0.9, 1, []),
    "timeseries_lstm": (0, 0.15, []),                               # error of the forecast, as a share
    "transfer_learning": (0.7, 1, []),
}


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """A function that imports one of the demos, as its folder's own; the current folder is an empty one."""
    monkeypatch.syspath_prepend(str(DEMOS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


@pytest.mark.parametrize("name", NAMES)
def test_demo(demo, name, tmp_path, capsys):
    """--quick reaches the figure of merit that is expected, says so in one last line, and draws its picture if it has one."""
    assert name in EXPECTED, f"{name}: say in EXPECTED what its main() is to return"
    low, high, words = EXPECTED[name]
    picture, has_picture = tmp_path / "drawn here.png", '"--picture"' in (DEMOS / f"{name}.py").read_text()
    figure = demo(name).main(["--quick", *(["--picture", str(picture)] if has_picture else [])])
    printed = capsys.readouterr().out
    assert isinstance(figure, float) and low <= figure <= high, f"{name}: {figure} is not from {low} to {high}\n{printed}"
    assert all(word in printed for word in words), printed
    assert printed.endswith("\n") and printed.splitlines()[-1].strip()
    if has_picture:
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.name in printed.splitlines()[-1]


@pytest.mark.parametrize("name", NAMES)
def test_options(demo, name, capsys):
    """--help lists the options that all demos share, and the docstring shows how the demo is called with them."""
    module = demo(name)
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    help_text = capsys.readouterr().out
    for option in ("--epochs", "--quick", "--device", "--seed"):
        assert option in help_text and option in module.__doc__, option
    assert f"    python demos/{name}.py [" in module.__doc__
    source = (DEMOS / f"{name}.py").read_text()
    assert source.endswith('\n\nif __name__ == "__main__":\n    main()\n') and 60 <= source.count("\n") <= 180


def test_a_demo_as_a_program(tmp_path):
    """Called from a shell in any folder, a demo finds what it shares with others and draws into that folder."""
    command = [sys.executable, str(DEMOS / "softmax_regression.py"), "--quick", "--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Drawn: loss ") and done.stdout.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["softmax.png"]


def test_an_interruption_needs_a_saved_epoch(demo, capsys):
    """saving_and_loading refuses to be interrupted before anything is saved."""
    with pytest.raises(SystemExit):
        demo("saving_and_loading").main(["--epochs", "1"])
    assert "--epochs must be 2 or more, not 1" in capsys.readouterr().err


# ---- the images that some of them share ----------------------------------------------------------------------------------

def test_drawn_images(demo):
    """Drawn images are those of the data sets in shape, dtype and number of classes; the two parts differ; a seed repeats."""
    images = demo("_images")
    for part, n in zip(images.fashion_mnist("nowhere", quick=True), (2000, 500)):
        assert part.data.shape == (n, 28, 28) and part.data.dtype == np.uint8 and len(part.classes) == 10
        assert np.bincount(part.targets).tolist() == [n // 10] * 10
        assert part[7][0].size == (28, 28) and part[7][0].mode == "L" and part[7][1] == part.targets[7]
    train, test = images.cifar10("nowhere", quick=True)
    assert train.data.shape == (2000, 32, 32, 3) and train[0][0].mode == "RGB" and train.classes == [*images.SHAPES]
    assert not np.array_equal(train.data[:500], test.data)
    again = images.Drawn(images.SHAPES, 20, 32, "RGB", seed=1)
    assert np.array_equal(again.data, test.data[:20])


def test_images_on_the_disk_are_used(demo, tmp_path):
    """A shortened FashionMNIST, packed, and a shortened CIFAR-10 are read as they lie there, with quick too; nothing is added."""
    rng = np.random.default_rng(0)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    clothes = {part: rng.integers(0, 256, (n, 28, 28), np.uint8) for part, n in (("train", 30), ("t10k", 20))}
    for part, pixels in clothes.items():
        header = struct.pack(">I", len(pixels))
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(
            bytes([0, 0, 8, 3]) + header + struct.pack(">2I", 28, 28) + pixels.tobytes()))
        (raw / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + header + bytes(len(pixels))))
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    photos = rng.integers(0, 256, (6, 10, 3072), np.uint8)
    for name, pixels in zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], photos):
        (batches / name).write_bytes(pickle.dumps({"data": pixels, "labels": [*range(10)]}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"kind {i}" for i in range(10)]}))
    before = sorted(tmp_path.rglob("*"))

    images = demo("_images")
    for quick in (False, True):
        train, test = images.fashion_mnist(tmp_path, quick)
        assert np.array_equal(train.data.numpy(), clothes["train"]) and np.array_equal(test.data.numpy(), clothes["t10k"])
        train, test = images.cifar10(tmp_path, quick)
        assert np.array_equal(train.data, photos[:5].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)) and len(test) == 10
        assert train.classes[3] == "kind 3"
    assert sorted(tmp_path.rglob("*")) == before


def test_predict(demo):
    """predict() returns the class of each image in order, without dropout, and leaves the network as it was."""
    net = numtorch.nn.Sequential(numtorch.nn.Flatten(), numtorch.nn.Dropout(0.99))
    items = [(numtorch.nn.functional.one_hot(numtorch.tensor(k), 5).float(), k) for k in (3, 1, 4, 1, 2)]
    assert demo("_images").predict(net, DataLoader(items, batch_size=2), "cpu").tolist() == [3, 1, 4, 1, 2]
    assert net.training
