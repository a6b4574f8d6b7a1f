"""numtorch.vision.datasets beyond MNIST and CIFAR: MATLAB files, raw files, texts, folders of images."""
import bz2
import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest
from datasets_server import md5, serve, tar

import numtorch
from numtorch.vision import datasets
from numtorch.vision.datasets import _matfile, folder, utils

server = pytest.fixture(serve)
Image = pytest.importorskip("PIL.Image")


# ---- the others ------------------------------------------------------------------------------------------------------------

def element(order, kind, content):
    """An element of a MATLAB file, padded to 8 bytes; a small one where it fits."""
    if 0 < len(content) <= 4 and kind != 14:
        return struct.pack(order + "I", len(content) << 16 | kind) + content.ljust(4, b"\0")
    return struct.pack(order + "II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def variable(order, name, array, kind, code, stored):
    """A numeric variable of a MATLAB file: of a class, and stored as a type."""
    flags = element(order, 6, struct.pack(order + "II", kind, 0))
    shape = element(order, 5, struct.pack(f"{order}{array.ndim}i", *array.shape))
    numbers = array.astype(order + code).tobytes(order="F")
    return element(order, 14, flags + shape + element(order, 1, name.encode()) + element(order, stored, numbers))


def matlab(order="<", compressed=True, **variables):
    """A MATLAB file of variables; compressed ones are not padded."""
    header = b"MATLAB 5.0 MAT-file, a test".ljust(124) + struct.pack(order + "H", 0x100) + {"<": b"IM", ">": b"MI"}[order]
    packed = [zlib.compress(v) for v in variables.values()]
    return header + b"".join([struct.pack(order + "II", 15, len(p)) + p for p in packed] if compressed else variables.values())


def house_numbers(order="<", compressed=True, n=5):
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, n), np.uint8)
    labels = np.array([[10], [1], [9], [10], [3]])[:n]
    variables = {"X": variable(order, "X", images, 9, "u1", 2), "y": variable(order, "y", labels, 6, "u1", 2)}
    return images, matlab(order, compressed, **variables)


@pytest.mark.parametrize("order, compressed", [("<", True), ("<", False), (">", True)])
def test_svhn(tmp_path, monkeypatch, order, compressed):
    """A MATLAB file, packed or not, of either byte order; the label 10 is a zero."""
    images, content = house_numbers(order, compressed)
    (tmp_path / "test_32x32.mat").write_bytes(content)
    monkeypatch.setitem(datasets.SVHN.split_list, "test", ["http://", "test_32x32.mat", md5(content)])
    test = datasets.SVHN(tmp_path, "test", download=True)
    assert test.labels.tolist() == [0, 1, 9, 0, 3] and test.labels.dtype == np.int64
    assert test.data.shape == (5, 3, 32, 32) and np.array_equal(test.data, images.transpose(3, 2, 0, 1))
    image, label = test[4]
    assert (image.mode, type(label), label) == ("RGB", int, 3) and np.array_equal(np.asarray(image), images[..., 4])
    assert repr(test).endswith("    Split: test")
    (tmp_path / "test_32x32.mat").write_bytes(content + b"\0")
    with pytest.raises(RuntimeError, match="^Dataset not found or corrupted"):
        datasets.SVHN(tmp_path, "test")


def test_svhn_is_downloaded_or_an_npz(server, tmp_path, monkeypatch):
    """Without a file it is fetched; an .npz file with the same arrays stands in for it."""
    images, content = house_numbers()
    server.files["train_32x32.mat"] = content
    monkeypatch.setitem(datasets.SVHN.split_list, "train", [server.url("train_32x32.mat"), "train_32x32.mat", md5(content)])
    assert len(datasets.SVHN(tmp_path, download=True)) == 5
    np.savez(tmp_path / "extra_32x32.npz", X=images, y=np.full((5, 1), 10))
    extra = datasets.SVHN(tmp_path, "extra", download=True)
    assert np.array_equal(np.asarray(extra[2][0]), images[..., 2]) and extra.labels.tolist() == [0] * 5 and len(server.asked) == 1
    np.savez(tmp_path / "extra_32x32.npz", X=images)
    with pytest.raises(RuntimeError, match="does not hold what it should"):
        datasets.SVHN(tmp_path, "extra")


def test_matlab_files_are_read_as_scipy_writes_them(tmp_path):
    """Numbers of every type, texts, cells and structs; scipy is the judge."""
    sio = pytest.importorskip("scipy.io")
    struct_array = np.array([(1, "n01", "dog, hound", np.array([2, 3])), (2, "n02", "cat", np.zeros(0))],
                            [("id", "O"), ("wnid", "O"), ("words", "O"), ("children", "O")])
    cell = np.empty((1, 2), object)
    cell[0] = "text", np.arange(3)
    wanted = {code: np.arange(24).reshape(2, 3, 4).astype(code) for code in "f8 f4 i1 u1 i2 u2 i4 u4 i8 u8".split()}
    for packed in (False, True):
        sio.savemat(tmp_path / "f.mat", {**wanted, "text": "Zürich", "rows": np.array(["ab", "cd"]), "cell": cell,
                                         "synsets": struct_array, "empty": "", "one": 5.0}, do_compression=packed)
        found = _matfile.load(tmp_path / "f.mat")
        for code, array in wanted.items():
            assert np.array_equal(found[code], array) and found[code].dtype == code
        assert found["text"] == "Zürich" and found["rows"] == ["ab", "cd"] and found["empty"] == "" and found["one"] == [[5.0]]
        assert found["cell"][0] == "text" and found["cell"][1].tolist() == [[0, 1, 2]]
        assert found["synsets"]["words"] == ["dog, hound", "cat"] and found["synsets"]["wnid"] == ["n01", "n02"]
        assert found["synsets"]["children"][0].tolist() == [[2, 3]] and found["synsets"]["id"][1].item() == 2
    sio.savemat(tmp_path / "f.mat", {"z": np.array([1j])})
    with pytest.raises(NotImplementedError, match="'z' of a MATLAB file is of class 6, complex"):
        _matfile.load(tmp_path / "f.mat")


def test_matlab_files_that_are_none(tmp_path):
    """Other versions and damaged files are named."""
    _, content = house_numbers(n=2)
    path = tmp_path / "f.mat"
    wrong_shape = variable("<", "a", np.zeros((3, 3)), 6, "f8", 9).replace(b"\3\0\0\0\3", b"\4\0\0\0\3")
    for damaged in (content[:-300], content[:140] + b"\0\0\0" + content[143:], matlab(compressed=False, a=wrong_shape)):
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match="f.mat is damaged"):
            _matfile.load(path)
    path.write_bytes(b"nonsense" * 30)
    with pytest.raises(RuntimeError, match="is no MATLAB file"):
        _matfile.load(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(126) + b"IM")
    with pytest.raises(NotImplementedError, match="of version 7.3, an HDF5 file"):
        _matfile.load(path)


def test_stl10(tmp_path, monkeypatch):
    """Four splits and ten folds; the files' pixels are column after column."""
    base = tmp_path / "stl10_binary"
    base.mkdir()
    parts = {part: np.random.default_rng(n).integers(0, 256, (n, 3, 96, 96), np.uint8)
             for part, n in (("train", 4), ("test", 2), ("unlabeled", 3))}
    for part, images in parts.items():
        (base / f"{part}_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
    (base / "train_y.bin").write_bytes(bytes([1, 10, 5, 2]))
    (base / "test_y.bin").write_bytes(bytes([3, 4]))
    (base / "fold_indices.txt").write_text("0 2 \n3 1 \n" * 5)
    (base / "class_names.txt").write_text("airplane\nbird\n")
    with pytest.raises(RuntimeError, match="^Dataset not found or corrupted"):
        datasets.STL10(tmp_path)
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    train = datasets.STL10(tmp_path, download=True)
    assert train.labels.tolist() == [0, 9, 4, 1] and train.classes == ["airplane", "bird"]
    assert np.array_equal(np.asarray(train[1][0]), parts["train"][1].transpose(1, 2, 0)) and train[1][1] == 9
    assert datasets.STL10(tmp_path, folds=1).labels.tolist() == [1, 9]
    both = datasets.STL10(tmp_path, "train+unlabeled")
    assert both.labels.tolist() == [0, 9, 4, 1, -1, -1, -1] and np.array_equal(both.data[4:], parts["unlabeled"])
    assert len(datasets.STL10(tmp_path, "test")) == 2 and datasets.STL10(tmp_path, "unlabeled")[0][1] == -1
    with pytest.raises(ValueError, match=r"in the range \[0, 10\), but got 10"):
        datasets.STL10(tmp_path, folds=10)


def test_usps_and_semeion(tmp_path, monkeypatch):
    """Text files of pixels, labels from 1 and labels one-hot."""
    values = np.linspace(-1, 1, 512).reshape(2, 256)
    lines = [f"{label} " + " ".join(f"{i + 1}:{v:.6f}" for i, v in enumerate(row)) for label, row in zip((10, 1), values)]
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(" \n".join(lines).encode()))
    usps = datasets.USPS(tmp_path, download=True)
    assert usps.targets == [9, 0] and len(usps) == 2 and usps[0][0].size == (16, 16)
    assert np.array_equal(np.asarray(usps[1][0]), ((values[1].astype("f4").reshape(16, 16) + 1) / 2 * 255).astype(np.uint8))

    ink = (np.arange(512).reshape(2, 256) % 3 == 0).astype(float)
    rows = np.hstack([ink, np.eye(10)[[7, 2]]])
    np.savetxt(tmp_path / "semeion.data", rows, fmt="%.4f")
    monkeypatch.setattr(datasets.SEMEION, "md5_checksum", utils.calculate_md5(tmp_path / "semeion.data"))
    semeion = datasets.SEMEION(tmp_path)
    assert [semeion[i][1] for i in range(2)] == [7, 2] and np.array_equal(np.asarray(semeion[1][0]), ink[1].reshape(16, 16) * 255)


# ---- folders ---------------------------------------------------------------------------------------------------------------

@pytest.fixture
def pictures(tmp_path):
    """Classes cat, dog and empty; images in deeper folders, of several formats, with other files between them."""
    root = tmp_path / "pictures"
    for name, value in (("dog/b.png", 10), ("dog/a/z.PNG", 20), ("cat/c.bmp", 30), ("dog/a.jpeg", 40), ("cat/notes.txt", None)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if value is None:
            path.write_text("text")
        else:
            Image.new("L", (4, 3), value).save(path)
    (root / "file.png").write_bytes(b"")
    return root


def test_image_folder(pictures):
    """Folders are classes in sorted order, images below them are found in sorted order and read as RGB."""
    found = datasets.ImageFolder(pictures)
    assert found.classes == ["cat", "dog"] and found.class_to_idx == {"cat": 0, "dog": 1}
    names = [os.path.relpath(path, pictures) for path, _ in found.imgs]
    assert names == ["cat/c.bmp", "dog/a.jpeg", "dog/b.png", "dog/a/z.PNG"]
    assert found.targets == [0, 1, 1, 1] and found.samples is found.imgs and len(found) == 4
    image, target = found[3]
    assert (image.mode, image.size, image.getpixel((0, 0)), target) == ("RGB", (4, 3), (20, 20, 20), 1)
    chosen = datasets.ImageFolder(str(pictures), transform=len, target_transform=str, loader=os.path.basename,
                                  is_valid_file=lambda path: path.endswith("txt"), allow_empty=True)
    assert chosen[0] == (9, "0") and len(chosen) == 1
    assert repr(found) == f"Dataset ImageFolder\n    Number of datapoints: 4\n    Root location: {pictures}"


def test_folders_that_do_not_do(pictures, tmp_path):
    """No folders, a class without files, and arguments that exclude each other end in torchvision's errors."""
    (pictures / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="^Found no valid file for the classes empty. Supported extensions are: .jpg, "):
        datasets.ImageFolder(pictures)
    assert len(datasets.ImageFolder(pictures, allow_empty=True)) == 4
    with pytest.raises(FileNotFoundError, match="^Couldn't find any class folder in "):
        datasets.ImageFolder(pictures / "empty")
    with pytest.raises(FileNotFoundError):
        datasets.ImageFolder(tmp_path / "nothing")
    for arguments in ({}, {"extensions": ".png", "is_valid_file": len}):
        with pytest.raises(ValueError, match="^Both extensions and is_valid_file cannot be None or not None at the same time$"):
            datasets.DatasetFolder(pictures, str, **arguments)
    with pytest.raises(ValueError, match="must have at least one entry"):
        folder.make_dataset(pictures, {}, extensions=".png")
    with pytest.raises(ValueError, match="^The class_to_idx parameter cannot be None.$"):
        datasets.DatasetFolder.make_dataset(pictures, None)


def test_dataset_folder_can_be_changed(pictures):
    """Any loader and endings; a subclass may choose its classes and its samples."""
    class OnlyDogs(datasets.DatasetFolder):
        def find_classes(self, directory):
            return ["dog"], {"dog": 5}

    class Two(OnlyDogs):
        @staticmethod
        def make_dataset(directory, class_to_idx, extensions=None, is_valid_file=None, allow_empty=False):
            return [("one", 1), ("two", 2)]

    dogs = OnlyDogs(str(pictures), os.path.basename, extensions=(".png",))
    assert [dogs[i] for i in range(2)] == [("b.png", 5), ("z.PNG", 5)] and dogs.extensions == (".png",)
    assert [Two(pictures, str.upper, (".x",))[i] for i in range(2)] == [("ONE", 1), ("TWO", 2)]
    assert len(folder.make_dataset(str(pictures), extensions=(".txt", ".bmp"), allow_empty=True)) == 2
    assert folder.is_image_file("A.JPG") and not folder.is_image_file("jpg") and folder.has_file_allowed_extension("a.X", ".x")


def test_image_backend():
    """The loader's package can be named, and only those that torchvision names."""
    vision_module = numtorch.vision
    assert vision_module.get_image_backend() == "PIL"
    with pytest.raises(ValueError, match="^Invalid backend 'cv2'. Options are 'PIL' and 'accimage'$"):
        vision_module.set_image_backend("cv2")
    vision_module.set_image_backend("accimage")
    try:
        assert vision_module.get_image_backend() == "accimage"
        with pytest.raises(ModuleNotFoundError, match="accimage"):
            folder.default_loader("file")
    finally:
        vision_module.set_image_backend("PIL")


def test_imagenet(tmp_path, monkeypatch):
    """Archives are checked and unpacked into folders of classes, at once or not at all; classes have several names."""
    sio = pytest.importorskip("scipy.io")
    picture = io.BytesIO()
    Image.new("RGB", (2, 2)).save(picture, "JPEG")

    def publish(kind, path):
        monkeypatch.setitem(sys.modules["numtorch.vision.datasets.imagenet"].ARCHIVE_META, kind,
                            (path.name, md5(path.read_bytes())))

    with pytest.raises(RuntimeError, match="^The archive ILSVRC2012_devkit_t12.tar.gz is not present .* place it in "):
        datasets.ImageNet(tmp_path)
    synsets = np.array([(1, "n02", "cat", "", 0), (2, "n01", "dog, hound", "", 0), (3, "n00", "animal", "", 2)],
                       [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")])
    sio.savemat(tmp_path / "meta.mat", {"synsets": synsets})
    publish("devkit", tar(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", [
        ("ILSVRC2012_devkit_t12/data/meta.mat", (tmp_path / "meta.mat").read_bytes()),
        ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"2\n1\n2\n")], "w:gz"))
    publish("val", tar(tmp_path / "ILSVRC2012_img_val.tar", [(f"v_{n}.JPEG", picture.getvalue()) for n in range(3)]))
    inner = [tar(tmp_path / f"{wnid}.tar", [(f"{wnid}_{n}.JPEG", picture.getvalue()) for n in "12"]) for wnid in ("n01", "n02")]
    publish("train", tar(tmp_path / "ILSVRC2012_img_train.tar", [(path.name, path.read_bytes()) for path in inner]))

    val = datasets.ImageNet(tmp_path, "val")
    assert [(os.path.basename(path), target) for path, target in val.imgs] == [("v_0.JPEG", 0), ("v_2.JPEG", 0), ("v_1.JPEG", 1)]
    train = datasets.ImageNet(str(tmp_path), transform=lambda image: image.size)
    assert train.wnids == ["n01", "n02"] and train.classes == [("dog", "hound"), ("cat",)]
    assert train.class_to_idx == {"dog": 0, "hound": 0, "cat": 1} and train.wnid_to_idx == {"n01": 0, "n02": 1}
    assert train[3] == ((2, 2), 1) and len(train) == 4
    assert repr(val) == f"Dataset ImageNet\n    Number of datapoints: 3\n    Root location: {tmp_path}\n    Split: val"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["train", "val"]
