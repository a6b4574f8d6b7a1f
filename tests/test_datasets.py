"""numtorch.vision.datasets: files as they are given out, read into items."""
import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from datasets_server import below, md5, serve, tar

import numtorch
from numtorch.utils.data import DataLoader
from numtorch.vision import datasets
from numtorch.vision.datasets import mnist, vision

server = pytest.fixture(serve)
Image = pytest.importorskip("PIL.Image")


# ---- MNIST and its kin -----------------------------------------------------------------------------------------------------

def idx(array, kind=8):
    """An array as an idx file's bytes."""
    array = np.asarray(array)
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(
        array.dtype.newbyteorder(">")).tobytes()


def digits(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)


def mnist_files(folder, name="MNIST"):
    """Unpacked files of 12 and 5 images; returns the arrays of both parts."""
    raw = folder / name / "raw"
    raw.mkdir(parents=True)
    parts = {"train": digits(12), "t10k": digits(5, 1)}
    for part, (images, labels) in parts.items():
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return parts.values()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_mnist(tmp_path, name):
    """Unpacked files in root/Name/raw become grey PIL images and ints; transforms are applied; the two parts are kept apart."""
    (images, labels), (test_images, test_labels) = mnist_files(tmp_path, name)
    kind = getattr(datasets, name)
    train, test = kind(tmp_path), kind(str(tmp_path), train=False, download=True)
    assert (len(train), len(test)) == (12, 5) and isinstance(train, vision.VisionDataset)
    assert train.data.dtype == numtorch.uint8 and train.targets.dtype == numtorch.int64
    assert np.array_equal(train.data.numpy(), images) and np.array_equal(test.data.numpy(), test_images)
    image, label = train[3]
    assert (image.mode, image.size, type(label), label) == ("L", (28, 28), int, labels[3])
    assert np.array_equal(np.asarray(image), images[3]) and test[-1][1] == test_labels[-1]
    changed = kind(tmp_path, transform=lambda image: image.size, target_transform=lambda label: label + 100)
    assert changed[0] == ((28, 28), labels[0] + 100)
    assert train.class_to_idx == {c: i for i, c in enumerate(train.classes)} and len(train.classes) == 10
    with pytest.raises(IndexError):
        train[12]
    assert repr(test) == f"Dataset {name}\n    Number of datapoints: 5\n    Root location: {tmp_path}\n    Split: Test"


def test_mnist_data_can_be_replaced(tmp_path):
    """Items come from ``data`` and ``targets`` as they are now, and so do the transforms."""
    (images, labels), _ = mnist_files(tmp_path)
    train = datasets.MNIST(tmp_path)
    keep = train.targets > 4
    train.data, train.targets, train.transform = train.data[keep], train.targets[keep], np.asarray
    assert len(train) == (labels > 4).sum() and np.array_equal(train[1][0], images[labels > 4][1])
    with pytest.warns(UserWarning, match="train_labels has been renamed targets"):
        assert train.train_labels is train.targets
    with pytest.warns(UserWarning, match="test_data has been renamed data"):
        assert train.test_data is train.data


def test_a_data_set_in_a_data_loader(tmp_path):
    """Batches are the same with and without workers, and a pickled copy has the same items."""
    (images, labels), _ = mnist_files(tmp_path)
    train = datasets.MNIST(tmp_path, transform=to_array)
    alone, helped = (list(DataLoader(train, batch_size=5, num_workers=n)) for n in (0, 2))
    assert [len(batch[1]) for batch in alone] == [5, 5, 2]
    for one, two in zip(alone, helped):
        assert numtorch.equal(one[0], two[0]) and numtorch.equal(one[1], two[1]) and one[1].dtype == numtorch.int64
    assert np.array_equal(pickle.loads(pickle.dumps(train))[7][0], images[7])


def to_array(image):
    return np.array(image)


def test_mnist_that_is_not_there(tmp_path):
    """torchvision's words, and where it was looked for. Packed files alone do not do without download=True."""
    with pytest.raises(RuntimeError, match="^Dataset not found. You can use download=True to download it .*MNIST.raw"):
        datasets.MNIST(tmp_path)
    mnist_files(tmp_path)
    path = tmp_path / "MNIST/raw/train-labels-idx1-ubyte"
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert datasets.MNIST(tmp_path, train=False)._check_exists()
    path.unlink()
    with pytest.raises(RuntimeError, match="^Dataset not found"):
        datasets.MNIST(tmp_path)


def packed_mnist(server, monkeypatch, kind=datasets.MNIST):
    """Puts small packed files on the server, and their checksums into the class."""
    resources = []
    for part, count in (("train", 12), ("t10k", 5)):
        for what, content in zip(("images-idx3", "labels-idx1"), digits(count)):
            name = f"{part}-{what}-ubyte.gz"
            server.files["good/" + name] = packed = gzip.compress(idx(content))
            resources.append((name, md5(packed)))
    monkeypatch.setattr(kind, "resources", resources)
    monkeypatch.setattr(kind, "mirrors", [server.url("bad/"), server.url("good/")])


def test_mnist_is_downloaded(server, tmp_path, monkeypatch):
    """A mirror that fails gives way to the next; packed files that are there are only unpacked; then nothing is fetched."""
    packed_mnist(server, monkeypatch)
    name, _ = datasets.MNIST.resources[0]
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    (tmp_path / "MNIST/raw" / name).write_bytes(server.files["good/" + name])
    train = datasets.MNIST(tmp_path, download=True)
    assert np.array_equal(train.data.numpy(), digits(12)[0]) and np.array_equal(train.targets.numpy(), digits(12)[1])
    assert [asked[0].split("/")[0] for asked in server.asked] == ["bad", "good"] * 3
    assert len(below(tmp_path / "MNIST/raw")) == 8
    assert len(datasets.MNIST(tmp_path, train=False, download=True)) == 5 and len(server.asked) == 6


def test_mnist_cannot_be_downloaded(server, tmp_path, monkeypatch):
    """Each mirror's reason is told, and the place for the file; a packed file with another checksum is told and kept."""
    packed_mnist(server, monkeypatch)
    name, checksum = datasets.MNIST.resources[0]
    server.files["bad/" + name] = b"nonsense"
    del server.files["good/" + name]
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    (tmp_path / "MNIST/raw" / name).write_bytes(b"mine")
    with pytest.raises(RuntimeError) as caught:
        datasets.MNIST(tmp_path, download=True)
    text = str(caught.value)
    assert text.startswith(f"Error downloading {name}:\nTried {server.url('bad/')}{name}, got:\nFile not found or corrupted")
    assert f"Tried {server.url('good/')}{name}, got:\nHTTP Error 404" in text
    assert f"put it at {tmp_path / 'MNIST/raw' / name} " in text and checksum in text and md5(b"mine") in text
    assert below(tmp_path) == [f"MNIST/raw/{name}"]


def test_official_addresses_and_checksums():
    """The names and checksums that torchvision has, of which these are samples."""
    assert datasets.MNIST.mirrors[0] == "https://ossci-datasets.s3.amazonaws.com/mnist/"
    assert ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c") in datasets.MNIST.resources
    assert datasets.FashionMNIST.resources[0][1] == "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    assert datasets.CIFAR10.url == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert datasets.CIFAR100.tgz_md5 == "eb9058c3a382ffc7106e4002c42a8d85"
    assert datasets.SVHN.split_list["test"][::2] == ["http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
                                                     "eb5a983be6a315427106f1b164d9cef3"]
    for kind in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        assert len({checksum for _, checksum in kind.resources}) == 4


@pytest.mark.parametrize("kind, code", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
def test_idx_files(tmp_path, kind, code):
    """Every type of number, in one to three dimensions."""
    for shape in ((6,), (2, 3), (1, 2, 3), (0, 4)):
        array = (np.arange(np.prod(shape)) * 7 - 9).astype(code).reshape(shape)
        (tmp_path / "f").write_bytes(idx(array, kind))
        x = mnist.read_sn3_pascalvincent_tensor(str(tmp_path / "f"))
        assert x.dtype == mnist.SN3_PASCALVINCENT_TYPEMAP[kind] and np.array_equal(x.numpy(), array) and x.shape == shape


def test_idx_files_that_are_none(tmp_path):
    """Damaged files and files of another kind are refused by name."""
    path = tmp_path / "f"
    good = idx(np.zeros((2, 3), np.uint8))
    for content in (b"", good[:3], good[:7], b"\1" + good[1:], b"\0\0\7\1" + good[4:], b"\0\0\10\4" + good[4:]):
        path.write_bytes(content)
        with pytest.raises(AssertionError, match="f is no idx file"):
            mnist.read_sn3_pascalvincent_tensor(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(AssertionError, match=r"tells of shape \(2, 3\) in numbers of 1 bytes, and 7 bytes follow"):
        mnist.read_sn3_pascalvincent_tensor(path)
    with pytest.raises(RuntimeError, match="damaged"):
        mnist.read_label_file(path)
    path.write_bytes(good)
    with pytest.raises(ValueError, match="^x should have 1 dimension instead of 2$"):
        mnist.read_label_file(path)
    path.write_bytes(idx(np.zeros(3, np.int32), 12))
    with pytest.raises(TypeError, match="^x should be of dtype torch.uint8 instead of torch.int32$"):
        mnist.read_image_file(path)


def test_mnist_of_old(tmp_path):
    """Files that torchvision before 0.9 wrote, two tensors in torch's format, are read."""
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir(parents=True)
    for name, count in (("training.pt", 4), ("test.pt", 3)):
        numtorch.save(tuple(map(numtorch.from_numpy, digits(count))), processed / name)
    assert len(datasets.MNIST(tmp_path)) == 4 and len(datasets.MNIST(tmp_path, train=False)) == 3


def test_emnist(server, tmp_path, monkeypatch):
    """A .zip of .gz files is downloaded and unpacked once for all splits; each split has its classes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for split in ("letters", "balanced"):
            for part, count in (("train", 6), ("test", 2)):
                images, labels = digits(count)
                archive.writestr(f"gzip/emnist-{split}-{part}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
                archive.writestr(f"gzip/emnist-{split}-{part}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))
        archive.writestr("gzip/emnist-letters-mapping.txt", b"")
    server.files["gzip.zip"] = content.getvalue()
    monkeypatch.setattr(datasets.EMNIST, "url", server.url("gzip.zip"))
    monkeypatch.setattr(datasets.EMNIST, "md5", md5(content.getvalue()))
    letters = datasets.EMNIST(tmp_path, "letters", download=True)
    balanced = datasets.EMNIST(tmp_path, split="balanced", train=False, download=True)
    assert (len(letters), len(balanced), len(server.asked)) == (6, 2, 1)
    assert np.array_equal(np.asarray(letters[5][0]), digits(6)[0][5]) and balanced[1][1] == digits(2)[1][1]
    assert letters.classes[:3] == ["N/A", "a", "b"] and len(balanced.classes) == 47
    assert len(datasets.EMNIST.classes_split_dict["byclass"]) == 62
    assert not (tmp_path / "EMNIST/raw/gzip").exists()
    with pytest.raises(ValueError, match="Unknown value 'latin' for argument split. Valid values are {'byclass', 'bymerge',"):
        datasets.EMNIST(tmp_path, "latin")
    with pytest.raises(RuntimeError, match="Dataset not found"):
        datasets.EMNIST(tmp_path, "digits")


def test_qmnist(server, tmp_path, monkeypatch):
    """Targets are the digit, or with compat=False all eight columns; the test part can be cut in two."""
    images = np.zeros((10_003, 1, 1), np.uint8)
    images[:, 0, 0] = np.arange(10_003) % 251
    labels = np.arange(10_003 * 8, dtype=np.int32).reshape(-1, 8)
    files = {"t-images-idx3-ubyte.gz": gzip.compress(idx(images), 1), "t-labels-idx2-int.gz": gzip.compress(idx(labels, 12), 1)}
    server.files.update(files)
    monkeypatch.setitem(datasets.QMNIST.resources, "test", [(server.url(name), md5(content)) for name, content in files.items()])
    test = datasets.QMNIST(tmp_path, train=False, download=True)
    assert len(test) == 10_003 and test[2][1] == 16 and np.asarray(test[2][0]).item() == 2 and len(test.classes) == 10
    rest = datasets.QMNIST(tmp_path, "test50k", compat=False)
    assert len(rest) == 3 and rest[1][1].tolist() == labels[10_001].tolist() and rest[1][1].dtype == numtorch.int64
    assert len(datasets.QMNIST(tmp_path, "test10k")) == 10_000 and "Split: test10k" in repr(datasets.QMNIST(tmp_path, "test10k"))
    with pytest.raises(ValueError, match="Unknown value 'x' for argument what"):
        datasets.QMNIST(tmp_path, "x")


# ---- CIFAR -----------------------------------------------------------------------------------------------------------------

def batch(n, seed=0, names=("labels",)):
    rng = np.random.default_rng(seed)
    return {"data": rng.integers(0, 256, (n, 3072), np.uint8), **{name: rng.integers(0, 10, n).tolist() for name in names}}


def python2(content):
    """A batch as Python 2 and the NumPy of then wrote it: the official files are of this kind."""
    data, labels = content["data"], content["labels"]
    string = b"U%c%s"
    return (b"\x80\x02}(" + string % (4, b"data") + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R(K\1"
            + b"M" + struct.pack("<H", len(data)) + b"M\x00\x0c\x86" + b"cnumpy\ndtype\nU\2u1K\0K\1\x87R(K\3U\1|NNN"
            + b"J\xff\xff\xff\xff" * 2 + b"K\0tb\x89T" + struct.pack("<i", data.nbytes) + data.tobytes() + b"tb"
            + string % (6, b"labels") + b"](" + b"".join(b"K%c" % label for label in labels) + b"eu.")


def cifar_files(folder, kind=datasets.CIFAR10):
    """Small batches of every spelling; returns (training batches, test batch)."""
    base = folder / kind.base_folder
    base.mkdir(parents=True)
    names = ("labels",) if kind is datasets.CIFAR10 else ("coarse_labels", "fine_labels")
    batches = [batch(4, seed, names) for seed in range(len(kind.train_list) + 1)]
    for number, (content, (name, _)) in enumerate(zip(batches, kind.train_list + kind.test_list)):
        packed = python2(content) if number == 0 and kind is datasets.CIFAR10 else pickle.dumps(content, protocol=number % 6)
        (base / name).write_bytes(packed)
    classes = [f"class {n}" for n in range(10)]
    (base / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: classes}, 2))
    return batches[:-1], batches[-1]


@pytest.mark.parametrize("kind", ["CIFAR10", "CIFAR100"])
def test_cifar(tmp_path, monkeypatch, kind):
    """Pickles of any protocol, Python 2's among them, become colour PIL images; checksums can be set aside as programs do it."""
    kind = getattr(datasets, kind)
    train_batches, test_batch = cifar_files(tmp_path, kind)
    with pytest.raises(RuntimeError, match="^Dataset not found or corrupted. You can use download=True to download it"):
        kind(tmp_path)
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    with pytest.raises(RuntimeError, match="^Dataset metadata file not found or corrupted."):
        kind(tmp_path)
    monkeypatch.setattr(kind, "meta", dict(kind.meta, md5=None))
    train, test = kind(tmp_path, download=True), kind(str(tmp_path), train=False)
    pixels = np.vstack([b["data"] for b in train_batches]).reshape(-1, 3, 32, 32)
    label = "labels" if kind is datasets.CIFAR10 else "fine_labels"
    assert train.targets == sum((b[label] for b in train_batches), []) and test.targets == test_batch[label]
    assert train.data.shape == (len(pixels), 32, 32, 3) and np.array_equal(train.data.transpose(0, 3, 1, 2), pixels)
    image, target = train[3]
    assert (image.mode, image.size, type(target)) == ("RGB", (32, 32), int)
    assert np.array_equal(np.asarray(image), pixels[3].transpose(1, 2, 0))
    assert train.classes[9] == "class 9" and train.class_to_idx["class 9"] == 9
    assert repr(test).endswith("    Split: Test") and len(test) == 4


def test_cifar_is_downloaded(server, tmp_path, monkeypatch):
    """The archive is fetched, checked and unpacked, and the files' checksums are looked at; then nothing is fetched."""
    kind = datasets.CIFAR10
    cifar_files(tmp_path / "made")
    made = tmp_path / "made" / kind.base_folder
    path = tmp_path / "archive"
    tar(path, [(f"{kind.base_folder}/{name}", (made / name).read_bytes()) for name in below(made)], "w:gz")
    server.files[kind.filename] = path.read_bytes()
    monkeypatch.setattr(kind, "url", server.url(kind.filename))
    monkeypatch.setattr(kind, "tgz_md5", md5(path.read_bytes()))
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(kind, lists, [[name, md5((made / name).read_bytes())] for name, _ in getattr(kind, lists)])
    monkeypatch.setattr(kind, "meta", dict(kind.meta, md5=md5((made / "batches.meta").read_bytes())))
    assert len(kind(tmp_path / "data", download=True)) == 20 and len(kind(tmp_path / "data", train=False, download=True)) == 4
    assert len(server.asked) == 1
    (tmp_path / "data" / kind.base_folder / "data_batch_2").write_bytes(b"")
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        kind(tmp_path / "data")
    assert len(kind(tmp_path / "data", download=True)) == 20 and len(server.asked) == 1     # the archive is still there


class Evil:
    """Pickles itself as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("content", [
    pickle.dumps({"data": Evil(os.system, ("touch evil",))}),
    pickle.dumps({"data": Evil(eval, ("open('evil', 'w')",))}, 0),
    pickle.dumps({"data": Evil(np.fromfile, ("evil",))}),
    pickle.dumps({"data": Evil(getattr, (np.ndarray, "fromfile"))}, 2),
    pickle.dumps({"data": np.array([{}], object)}),
    pickle.dumps({"data": np.zeros(2, "u1,f4")}),
    pickle.dumps({"data": np.array(["text"])}),
    pickle.dumps(batch(2))[:-1000],
    pickle.dumps([1]),
    pickle.dumps({"labels": [1]}),
    pickle.dumps({**batch(2), "labels": [1]}),
    pickle.dumps({**batch(2), "data": np.zeros((2, 3072))}),
    b"cnumpy\nndarray\n}U\1ab.",                                        # state for a name
    b"\x80\x02}U\4datacnumpy\nndarray\n)Rs.",                           # an array without its parts
    b"\x80\x02}U\4datacnumpy\nndarray\n)\x81s.",
    python2(batch(2)).replace(b"M\x00\x0c", b"M\x00\x0d"),              # a shape that does not fit the bytes
    python2(batch(2)).replace(b"U\1|NNN", b"U\1|NN}"),
    b"", b"nonsense",
])
def test_cifar_runs_nothing_from_its_files(tmp_path, monkeypatch, content):
    """A file that names a function, holds objects or is damaged ends in a RuntimeError with its name; nothing is called."""
    cifar_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    (tmp_path / datasets.CIFAR10.base_folder / "test_batch").write_bytes(content)
    with pytest.raises(RuntimeError, match="test_batch"):
        datasets.CIFAR10(tmp_path, train=False)
    assert not (tmp_path / "evil").exists()


# ---- what they have in common ----------------------------------------------------------------------------------------------

def test_fake_data():
    """Item i is drawn from a generator with seed i + offset, as torch draws it; the global generator is left alone."""
    torch = pytest.importorskip("torch")
    fake = datasets.FakeData(size=3, image_size=(3, 5, 4), num_classes=7, random_offset=11)
    state = numtorch.get_rng_state()
    for i in range(3):
        image, target = fake[i]
        torch.manual_seed(i + 11)
        pixels = torch.randn(3, 5, 4)
        assert target == int(torch.randint(0, 7, (1,))) and type(target) is int and image.mode == "RGB"
        inside = ((pixels >= 0) & (pixels < 1)).numpy()     # the others are cut to bytes as the machine does it
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1)[inside], pixels.mul(255).byte().numpy()[inside])
    assert numtorch.equal(state, numtorch.get_rng_state()) and len(fake) == 3
    assert datasets.FakeData(2, (1, 4, 4), target_transform=lambda y: y * 0)[1][1] == 0
    assert datasets.FakeData(2, (1, 4, 4))[0][0].mode == "L" and datasets.FakeData(2, (4, 4, 4))[0][0].mode == "RGBA"
    with pytest.raises(IndexError, match="FakeData index out of range"):
        fake[3]


def test_transforms_are_printed_as_torchvision_prints_them(tmp_path):
    """Both transforms in a StandardTransform, each line of theirs under their first."""
    class Steps:
        def __repr__(self):
            return "Steps(\n  one\n)"

    made = datasets.FakeData(3, transform=Steps(), target_transform=Steps())
    lines = ["Dataset FakeData", "    Number of datapoints: 3", "    StandardTransform", "Transform: Steps(",
             "             one", "           )", "Target transform: Steps(", "                    one", "                  )"]
    assert repr(made) == "\n".join(lines)
    assert vision.StandardTransform(str, None)(1, 2) == ("1", 2)
    both = vision.VisionDataset("~", transforms=lambda image, target: (target, image))
    assert both.transforms(1, 2) == (2, 1) and both.transform is None and both.root == os.path.expanduser("~")
    with pytest.raises(NotImplementedError):
        both[0]
    with pytest.raises(NotImplementedError):
        len(both)


def test_names(tmp_path):
    """Every name of __all__ is there; one that is not says so; Pillow and the data sets are loaded when they are needed."""
    for name in datasets.__all__:
        assert getattr(datasets, name).__name__ == name
    assert "MNIST" in dir(datasets) and "mnist" in dir(datasets) and "datasets" in dir(numtorch.vision)
    with pytest.raises(AttributeError, match="no attribute 'CIFAR1000': numtorch does not have it yet; .* 'CIFAR100'"):
        _ = datasets.CIFAR1000
    with pytest.raises(AttributeError, match="numtorch does not have it yet"):
        _ = numtorch.vision.nonsense
    assert int(numtorch.vision.__version__.split(".")[1]) >= 20
    code = ("import sys, numtorch.vision.datasets as d; d.Digits()[0]; print([m for m in sys.modules if m.split('.')[0] in "
            "('PIL', 'tqdm', 'tarfile', 'scipy', 'numba') or m in ('urllib.request', 'numtorch.vision.datasets.mnist')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
