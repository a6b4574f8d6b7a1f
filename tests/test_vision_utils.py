"""vision.utils: grids, files, boxes, masks, key points and flow against NumPy and Pillow, and torchvision where installed."""
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import numtorch as nt
from numtorch.vision import utils

RNG = np.random.default_rng(0)


def floats(*shape):
    return np.random.default_rng(sum(shape)).random(shape).astype(np.float32)


def bytes_of(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)


def tensors(value, lib=nt):
    """Arrays, alone or in a list, as tensors of ``lib``; all else as it is."""
    if isinstance(value, np.ndarray):
        return lib.from_numpy(value.copy())
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [tensors(v, lib) for v in value]
    return value


def drawn(image):
    """A tensor (3, h, w) of bytes as a PIL image to draw the same on."""
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


# ---- grids and files ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n, nrow, padding", [(5, 8, 2), (5, 2, 0), (9, 3, 1), (4, 1, 3)])
def test_grid(n, nrow, padding):
    """Image k stands in row k // nrow and column k % nrow, and pad_value is everywhere else."""
    x = floats(n, 3, 7, 9)
    grid = utils.make_grid(nt.from_numpy(x), nrow, padding, pad_value=0.5).numpy()
    columns, rows = min(nrow, n), -(-n // min(nrow, n))
    wanted = np.full((3, rows * (7 + padding) + padding, columns * (9 + padding) + padding), 0.5, np.float32)
    for k in range(n):
        top, left = padding + k // columns * (7 + padding), padding + k % columns * (9 + padding)
        wanted[:, top:top + 7, left:left + 9] = x[k]
    assert np.array_equal(grid, wanted)


def test_grid_of_other_shapes():
    """One channel becomes three; one image comes back as it is; a list is stacked; other channels and bytes are kept."""
    gray = floats(5, 1, 7, 9)
    assert np.array_equal(utils.make_grid(nt.from_numpy(gray)).numpy(),
                          utils.make_grid(nt.from_numpy(np.repeat(gray, 3, 1))).numpy())
    for shape in ((7, 9), (1, 7, 9), (1, 1, 7, 9)):
        x = floats(*shape)
        assert np.array_equal(utils.make_grid(nt.from_numpy(x)).numpy(), np.broadcast_to(x.reshape(1, 7, 9), (3, 7, 9)))
    x = bytes_of(9, 5, 4, 4)
    grid = utils.make_grid(list(nt.from_numpy(x)))
    assert grid.dtype is nt.uint8 and np.array_equal(grid[:, 2:6, 8:12].numpy(), x[1])


def test_grid_normalized():
    """To 0..1 from the least and largest value of all, of each, or from a given range; the input stays; no gradient."""
    x = floats(5, 3, 7, 9) * 3 - 1
    x[2] *= 0.1
    t = nt.from_numpy(x.copy()).requires_grad_()
    image = (slice(None), slice(0, 7), slice(18, 27))       # the third one
    for options, low, high in (({}, x.min(), x.max()), ({"scale_each": True}, x[2].min(), x[2].max()), ({"value_range": (-1, 1)}, -1, 1)):
        grid = utils.make_grid(t, padding=0, normalize=True, **options)
        assert np.allclose(grid[image].numpy(), (np.clip(x[2], low, high) - low) / (high - low), atol=1e-6) and not grid.requires_grad
    assert np.array_equal(t.detach().numpy(), x)


def test_images_are_saved(tmp_path):
    """A file holds the grid's values times 255, rounded, whatever its format is named by; a file object works as well."""
    x = floats(4, 3, 8, 8)
    wanted = np.clip(utils.make_grid(nt.from_numpy(x), nrow=2).numpy() * 255 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    utils.save_image(nt.from_numpy(x), tmp_path / "a.PNG", nrow=2)
    utils.save_image([nt.from_numpy(v) for v in x], str(tmp_path / "b"), format="bmp", nrow=2)
    memory = io.BytesIO()
    utils.save_image(nt.from_numpy(x), memory, "png", nrow=2)
    for file in (tmp_path / "a.PNG", tmp_path / "b", memory):
        assert np.array_equal(np.asarray(Image.open(file)), wanted)
    assert sorted(os.listdir(tmp_path)) == ["a.PNG", "b"]


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    """If writing fails half way, the old file is still there, whole, and nothing else; errors name what is wrong."""
    file = tmp_path / "a.png"
    utils.save_image(nt.zeros(3, 4, 4), file)
    old = file.read_bytes()

    def broken(self, fp, format=None):
        fp.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", broken)
        with pytest.raises(OSError, match="disk full"):
            utils.save_image(nt.ones(3, 4, 4), file)
    assert file.read_bytes() == old and os.listdir(tmp_path) == ["a.png"]
    with pytest.raises(ValueError, match="unknown file extension: .xyz"):
        utils.save_image(nt.ones(3, 4, 4), tmp_path / "a.xyz")
    with pytest.raises(FileNotFoundError, match="save_image: there is no folder .*nowhere"):
        utils.save_image(nt.ones(3, 4, 4), tmp_path / "nowhere" / "a.png")


# ---- drawing -----------------------------------------------------------------------------------------------------------

BOXES = np.array([[2, 3, 20, 25], [10, 10, 40, 30], [0, 0, 5, 5]])


def test_boxes():
    """Boxes and labels are where Pillow draws them, in the given colors; floats and grays become what bytes do."""
    x = bytes_of(3, 50, 60)
    picture = drawn(x)
    draw = ImageDraw.Draw(picture)
    for box, color, label in zip(BOXES.tolist(), ["red", (1, 2, 3), "#00ff00"], ["a", None, "c"]):
        draw.rectangle(box, outline=color, width=2)
        if label:
            draw.text((box[0] + 3, box[1] + 3), label, fill=color, font=ImageFont.load_default())
    options = {"labels": ["a", None, "c"], "colors": ["red", (1, 2, 3), "#00ff00"], "width": 2}
    found = utils.draw_bounding_boxes(nt.from_numpy(x), nt.from_numpy(BOXES) + 0.7, **options)
    assert np.array_equal(found.numpy(), np.asarray(picture).transpose(2, 0, 1))
    as_floats = utils.draw_bounding_boxes(nt.from_numpy(x) / 255, nt.from_numpy(BOXES), **options)
    assert as_floats.dtype is nt.float32 and np.abs(as_floats.numpy() * 255 - found.numpy()).max() < 1.01
    gray = utils.draw_bounding_boxes(nt.zeros(1, 50, 60, dtype=nt.uint8), nt.from_numpy(BOXES[:1]), colors="red")
    assert gray.shape == (3, 50, 60) and gray[:, 3, 2].tolist() == [255, 0, 0] and gray[:, 9, 9].tolist() == [0, 0, 0]


def test_filled_boxes_and_labels():
    """Fill is the color at 100 of 255, a label's ground covers the text's box and one pixel more, turned boxes have four sides."""
    x = np.zeros((3, 50, 60), np.uint8)
    found = utils.draw_bounding_boxes(nt.from_numpy(x), nt.from_numpy(BOXES[:1]), colors=(255, 0, 0), fill=True).numpy()
    assert found[:, 10, 10].tolist() == [100, 0, 0] and found[:, 3, 10].tolist() == [255, 0, 0]
    found = utils.draw_bounding_boxes(nt.from_numpy(x), nt.from_numpy(BOXES[:1]), ["m"], fill_labels=True, label_colors="white",
                                      label_background_colors="blue").numpy()
    left, top, right, bottom = ImageDraw.Draw(drawn(x)).textbbox((4, 5), "m", font=ImageFont.load_default())
    assert found[:, int(bottom) + 1, int(left) - 1].tolist() == [0, 0, 255]
    turned = utils.draw_bounding_boxes(nt.from_numpy(x), nt.tensor([[5, 5, 45, 5, 45, 35, 5, 35]]), colors="red").numpy()[0]
    assert turned[35, 5:46].all() and turned[5:36, 5].all() and turned[5:36, 45].all() and not turned[10:30, 10:40].any()
    dashes = turned[5, 6:44] > 0
    assert 15 < dashes.sum() < 26 and dashes[:4].all() and not dashes[5:9].any()


@pytest.mark.parametrize("scale", [1, 255])
def test_masks(scale):
    """A pixel in one mask is (1 - alpha) image + alpha color, in several alpha of it goes to black, in none it stays."""
    x = bytes_of(3, 20, 30) if scale == 1 else floats(3, 20, 30)
    masks = np.random.default_rng(3).random((3, 20, 30)) < 0.4
    colors = np.array([[255, 0, 0], [1, 2, 3], [0, 0, 255]]) / scale
    paint = x.astype(np.float64)
    for mask, color in zip(masks, colors):
        paint = np.where(mask, color[:, None, None], paint)
    paint = np.where(masks.sum(0) > 1, 0, paint)
    wanted = x * 0.3 + paint * 0.7
    found = utils.draw_segmentation_masks(nt.from_numpy(x), nt.from_numpy(masks), 0.7, ["red", (1, 2, 3), "blue"]).numpy()
    assert found.dtype == x.dtype and np.abs(found - (np.floor(wanted + 1e-4) if scale == 1 else wanted)).max() <= (scale == 1) + 1e-6
    one = utils.draw_segmentation_masks(nt.from_numpy(x), nt.from_numpy(masks[0]), colors="black", alpha=1.0).numpy()
    assert np.array_equal(one, np.where(masks[0], 0, x))


def test_keypoints():
    """Points are Pillow's ellipses, lines join what is visible, as in the same drawing by hand."""
    x = bytes_of(3, 40, 40)
    points, visible = np.array([[[5, 5], [30, 8], [20, 30]]]), np.array([[True, True, False]])
    picture = drawn(x)
    draw = ImageDraw.Draw(picture)
    for px, py in points[0][:2].tolist():
        draw.ellipse([px - 3, py - 3, px + 3, py + 3], fill="red", width=0)
    draw.line(((5, 5), (30, 8)), width=2)
    wanted = np.asarray(picture).transpose(2, 0, 1)
    for shown in (visible, visible[..., None]):
        found = utils.draw_keypoints(nt.from_numpy(x), nt.from_numpy(points), [(0, 1), (1, 2)], "red", 3, 2, nt.from_numpy(shown))
        assert np.array_equal(found.numpy(), wanted)


def test_flow():
    """No motion is white, directions have the colors of the wheel, opposite ones differ, batches are single images."""
    assert (utils.flow_to_image(nt.zeros(2, 3, 4)).numpy() == 255).all()
    right = np.zeros((2, 1, 3), np.float32)
    right[0, 0] = 1, -1, 0
    found = utils.flow_to_image(nt.from_numpy(right)).numpy()
    assert found.dtype == np.uint8 and found[:, 0, 0].tolist() == [255, 0, 0] and found[0, 0, 1] == 0
    both = floats(2, 2, 5, 6)
    both[1] *= np.sqrt((both[0] ** 2).sum(0).max() / (both[1] ** 2).sum(0).max())       # equally fast
    for picture, flow in zip(utils.flow_to_image(nt.from_numpy(both)).numpy(), both):
        assert np.abs(picture.astype(int) - utils.flow_to_image(nt.from_numpy(flow)).numpy()).max() <= 1


# (function, arguments, keywords, error, its words); arrays become tensors
WRONG = [
    ("make_grid", (3,), {}, TypeError, "tensor or list of tensors expected, got <class 'int'>"),
    ("make_grid", ([1],), {}, TypeError, "tensor or list of tensors expected, got a list containing <class 'int'>"),
    ("make_grid", (floats(2, 3, 2, 2),), {"normalize": True, "value_range": [0, 1]}, TypeError, "value_range has to be a tuple"),
    ("make_grid", (floats(2),), {}, ValueError, r"expected images .* got a tensor of \(2,\)"),
    ("draw_bounding_boxes", (3, BOXES), {}, TypeError, "Tensor expected, got <class 'int'>"),
    ("draw_bounding_boxes", (bytes_of(2, 5, 5), BOXES), {}, ValueError, "Only grayscale and RGB images are supported"),
    ("draw_bounding_boxes", (bytes_of(1, 3, 5, 5), BOXES), {}, ValueError, "Pass individual images, not batches"),
    ("draw_bounding_boxes", (np.zeros((3, 5, 5), np.int64), BOXES), {}, ValueError, "The image dtype must be uint8 or float, got torch.int64"),
    ("draw_bounding_boxes", (bytes_of(3, 5, 5), BOXES[:, ::-1]), {}, ValueError, "Boxes need to be in"),
    ("draw_bounding_boxes", (bytes_of(3, 5, 5), BOXES[:, :3]), {}, ValueError, r"expected boxes \(n, 4\) or \(n, 8\), got \(3, 3\)"),
    ("draw_bounding_boxes", (bytes_of(3, 5, 5), BOXES), {"labels": ["a"]}, ValueError, r"Number of boxes \(3\) and labels \(1\) mismatch"),
    ("draw_bounding_boxes", (bytes_of(3, 5, 5), BOXES), {"colors": ["red"]}, ValueError, "but got 1 < 3"),
    ("draw_bounding_boxes", (bytes_of(3, 5, 5), BOXES), {"colors": (1, 2)}, ValueError, "colors should be an RGB triplet"),
    ("draw_bounding_boxes", (bytes_of(3, 5, 5), BOXES), {"colors": 4}, ValueError, "colors must be a tuple or a string, or a list thereof"),
    ("draw_segmentation_masks", (3, BOXES), {}, TypeError, "The image must be a tensor, got <class 'int'>"),
    ("draw_segmentation_masks", (bytes_of(1, 5, 5), BOXES), {}, ValueError, "Pass an RGB image. Other Image formats are not supported"),
    ("draw_segmentation_masks", (bytes_of(3, 5, 5), bytes_of(5, 5)), {}, ValueError, "The masks must be of dtype bool. Got torch.uint8"),
    ("draw_segmentation_masks", (bytes_of(3, 5, 5), floats(2, 4, 5) > 2), {}, ValueError, "must have the same height and width"),
    ("draw_keypoints", (bytes_of(3, 5, 5), BOXES), {}, ValueError, r"keypoints must be of shape \(num_instances, K, 2\)"),
    ("draw_keypoints", (bytes_of(3, 5, 5), floats(3, 4, 2)), {"visibility": floats(2, 2)}, ValueError, "same dimensionality for num_instances and K"),
    ("flow_to_image", (bytes_of(2, 3, 4),), {}, ValueError, "Flow should be of dtype torch.float, got torch.uint8."),
    ("flow_to_image", (floats(3, 3, 4),), {}, ValueError, r"Input flow should have shape \(2, H, W\) or \(N, 2, H, W\)"),
]


@pytest.mark.parametrize("name, arguments, keywords, error, words", WRONG, ids=range(len(WRONG)))
def test_errors(name, arguments, keywords, error, words):
    """What cannot be drawn ends in an error that says what was expected and what came."""
    with pytest.raises(error, match=words):
        getattr(utils, name)(*map(tensors, arguments), **{k: tensors(v) for k, v in keywords.items()})


def test_nothing_to_draw_warns():
    """Without boxes or masks the image comes back, with a warning; a size without a font is ignored with one."""
    x = nt.from_numpy(bytes_of(3, 5, 5))
    with pytest.warns(UserWarning, match="boxes doesn't contain any box"):
        assert utils.draw_bounding_boxes(x, nt.zeros(0, 4)) is x
    with pytest.warns(UserWarning, match="masks doesn't contain any mask"):
        assert utils.draw_segmentation_masks(x, nt.zeros(0, 5, 5, dtype=nt.bool)) is x
    with pytest.warns(UserWarning, match="Argument 'font_size' will be ignored"):
        utils.draw_bounding_boxes(x, nt.tensor([[0, 0, 3, 3]]), font_size=9)


def test_pillow_is_imported_late():
    """vision.utils makes grids without Pillow; only transforms and drawing load it."""
    code = ("import sys, numtorch; from numtorch.vision import utils; utils.make_grid(numtorch.zeros(2, 3, 4, 4)); "
            "assert 'PIL' not in sys.modules; import numtorch.vision.transforms; assert 'PIL' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- torchvision, where it is installed --------------------------------------------------------------------------------

MASKS = RNG.random((4, 50, 60)) < 0.3
SAME = [
    ("make_grid", (floats(5, 3, 7, 9),), {}), ("make_grid", (floats(5, 1, 7, 9),), {"nrow": 2, "padding": 0}),
    ("make_grid", ([floats(3, 7, 9)] * 10,), {"normalize": True, "pad_value": 0.5}),
    ("make_grid", (floats(5, 3, 7, 9) * 3,), {"normalize": True, "scale_each": True}),
    ("make_grid", (floats(5, 3, 7, 9) * 3 - 1,), {"normalize": True, "value_range": (-1, 1)}), ("make_grid", (floats(7, 9),), {}),
    *[case for x in (bytes_of(3, 50, 60), floats(3, 50, 60)) for case in (
        ("draw_bounding_boxes", (x, BOXES), {}), ("draw_bounding_boxes", (x, BOXES), {"labels": ["a", "bc", None], "colors": "red", "width": 3}),
        ("draw_bounding_boxes", (x, BOXES + 0.6), {"colors": ["red", (1, 2, 3), "#00ff00"], "fill": True}),
        ("draw_bounding_boxes", (x, BOXES), {"labels": ["a", "bc", "d"], "fill_labels": True, "label_background_colors": ["red"] * 3}),
        ("draw_bounding_boxes", (x, np.array([[5, 5, 40, 10, 35, 40, 3, 30]])), {"colors": ["red"], "fill": True, "width": 2}),
        ("draw_segmentation_masks", (x, MASKS), {}), ("draw_segmentation_masks", (x, MASKS[0]), {"alpha": 0.3, "colors": "red"}),
        ("draw_keypoints", (x, floats(3, 4, 2) * 50), {"connectivity": [(0, 1), (2, 3)], "colors": "red", "visibility": MASKS[0, :3, :4]}))],
    ("flow_to_image", (floats(3, 2, 30, 40) * 4 - 2,), {}), ("flow_to_image", (floats(2, 30, 40) * 4 - 2,), {}),
]


@pytest.mark.parametrize("name, arguments, keywords", SAME, ids=range(len(SAME)))
def test_like_torchvision(name, arguments, keywords):
    """Every picture is torchvision's, to the last bit, but for the rounding of atan2 in flows."""
    torch = pytest.importorskip("torch")
    try:
        import torchvision.utils
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no torchvision: {error}")
    wanted, found = (getattr(module, name)(*(tensors(a, lib) for a in arguments), **{k: tensors(v, lib) for k, v in keywords.items()}).numpy()
                     for module, lib in ((torchvision.utils, torch), (utils, nt)))
    assert wanted.dtype == found.dtype and wanted.shape == found.shape
    apart = wanted.astype(np.float64) != found
    assert not apart.any() or (name == "flow_to_image" and apart.mean() < 0.01)
