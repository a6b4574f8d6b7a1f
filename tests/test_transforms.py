"""vision.transforms against NumPy and Pillow, against draws recorded from torchvision 0.28, and torchvision where installed."""
import colorsys
import pickle
import random
import warnings

import numpy as np
import pytest
from PIL import Image

import numtorch as nt
from numtorch.vision import transforms as T
from numtorch.vision.transforms import functional as F

H, W = 37, 50


def smooth(h=H, w=W, seed=0):
    """Bytes (h, w, 3) in which neighbours are alike, as in a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (h // 4 + 2, w // 4 + 2, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((w, h), Image.Resampling.BILINEAR))


BYTES = smooth()
PHOTO, GRAY = Image.fromarray(BYTES), Image.fromarray(BYTES[:, :, 0])


def planes(dtype=None):
    """The photograph as a tensor (3, h, w): bytes, or floats from 0 to 1."""
    x = nt.from_numpy(np.ascontiguousarray(BYTES.transpose(2, 0, 1)))
    return x if dtype is None else x.to(dtype) / 255


def back(x):
    """(h, w, c) of a tensor or PIL image, as float64."""
    a = np.asarray(x, np.float64) if isinstance(x, Image.Image) else x.numpy().transpose(1, 2, 0).astype(np.float64)
    return a[:, :, None] if a.ndim == 2 else a


def same(a, b):
    """Whether two tensors are equal, without compiling kernels for the comparison."""
    return np.array_equal(a.numpy(), b.numpy())


# ---- kinds of images ---------------------------------------------------------------------------------------------------

def test_pixels_become_tensors():
    """Bytes become floats v / 255 with channels first, other arrays keep their values, and nothing is shared with Pillow."""
    for pic in (PHOTO, BYTES):
        x = F.to_tensor(pic)
        assert x.dtype is nt.float32 and x.is_contiguous()
        assert np.array_equal(x.numpy(), BYTES.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    for mode, dtype in (("L", "float32"), ("I", "int32"), ("F", "float32"), ("I;16", "int16"), ("RGBA", "float32"), ("1", "float32")):
        pic = GRAY.convert("I").convert(mode) if mode == "I;16" else PHOTO.convert(mode)
        x = F.to_tensor(pic)
        scale = 255 if mode in ("L", "RGBA") else 1
        wanted = np.asarray(pic).reshape(H, W, -1).transpose(2, 0, 1).astype(dtype) / np.dtype(dtype).type(scale)
        assert str(x.dtype) == f"torch.{dtype}" and np.array_equal(x.numpy(), wanted), mode
        x.numpy().flat[0] += x.numpy().flat[1]      # writable
    assert F.to_tensor(np.full((2, 3), 300.0)).shape == (1, 2, 3) and F.to_tensor(np.full((2, 3), 300.0)).numpy().max() == 300
    nt.set_default_dtype(nt.float64)
    assert F.to_tensor(PHOTO).dtype is nt.float64


def test_pil_to_tensor_keeps_values():
    """Without scaling: bytes, bools and integers as they are, in memory of their own; 16 bits without sign are refused."""
    assert np.array_equal(T.PILToTensor()(PHOTO).numpy(), BYTES.transpose(2, 0, 1))
    assert F.pil_to_tensor(PHOTO.convert("1")).dtype is nt.bool and F.pil_to_tensor(GRAY.convert("F")).dtype is nt.float32
    F.pil_to_tensor(PHOTO).numpy()[:] = 0
    assert PHOTO.getpixel((3, 3)) == tuple(BYTES[3, 3])
    with pytest.raises(NotImplementedError, match="uint16.*I;16.*int16"):
        F.pil_to_tensor(GRAY.convert("I").convert("I;16"))


def test_images_of_tensors():
    """Modes by channels and type, all others by name; floats times 255; back again gives the same bytes."""
    cases = [(np.zeros((2, 3), "u1"), "L"), (np.zeros((2, 3, 1), "i2"), "I;16"), (np.zeros((2, 3, 1), "i4"), "I"),
             (np.zeros((2, 3, 2), "u1"), "LA"), (np.zeros((2, 3, 3), "f8"), "RGB"), (np.zeros((2, 3, 4), "u1"), "RGBA")]
    for pixels, mode in cases:
        image = F.to_pil_image(pixels)
        assert (image.mode, image.size) == (mode, (3, 2))
    for mode in ("YCbCr", "HSV", "RGB"):
        image = T.ToPILImage(mode)(planes())
        assert image.mode == mode and np.array_equal(np.asarray(image), BYTES)
    assert F.to_pil_image(planes(nt.float32)).tobytes() == PHOTO.tobytes()
    values = nt.tensor([[-1.5, 300.25]])
    assert np.array_equal(np.asarray(F.to_pil_image(values, "F")), values.numpy())
    copy = F.to_pil_image(planes())
    copy.putpixel((0, 0), (1, 2, 3))        # writable


def test_convert_image_dtype():
    """All pairs of dtypes: 0 stays, the largest value becomes the largest, halves the middle, and there and back is the same."""
    dtypes = [nt.uint8, nt.int16, nt.int64, nt.float32]
    top = [255, 32767, 2 ** 63 - 1, 1.0]
    for source, high in zip(dtypes, top):
        x = nt.tensor([0, high], dtype=source)
        for target, highest in zip(dtypes, top):
            if source.is_floating_point and target is nt.int64:
                with pytest.raises(RuntimeError, match=f"The cast from {source} to {target} cannot be performed safely."):
                    F.convert_image_dtype(x, target)
                continue
            y = F.convert_image_dtype(x, target)
            assert y.dtype is target and y[0].item() == 0 and abs(y[1].item() / float(highest) - 1) < 0.01, (source, target)
    levels = nt.arange(256, dtype=nt.uint8)
    for middle in (nt.int16, nt.int64, nt.float32):
        assert same(F.convert_image_dtype(F.convert_image_dtype(levels, middle), nt.uint8), levels), middle


def test_normalize():
    """(x - mean) / std of each channel, on a copy or in place, for images and batches; a leaf gets its gradient."""
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    x = planes(nt.float32)
    wanted = (x.numpy().astype(np.float64) - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert np.allclose(T.Normalize(mean, std)(x).numpy(), wanted, atol=1e-6) and same(x, planes(nt.float32))
    assert np.allclose(F.normalize(nt.stack([x, x]), mean, std)[1].numpy(), wanted, atol=1e-6)
    leaf = x.clone().requires_grad_()
    F.normalize(leaf, mean, std).backward(nt.ones(3, H, W))
    assert np.allclose(leaf.grad[:, 0, 0].numpy(), 1 / np.array(std))
    assert T.Normalize(mean, std, inplace=True)(x) is x and np.allclose(x.numpy(), wanted, atol=1e-6)
    assert np.allclose(T.LinearTransformation(nt.eye(12) * 2, nt.ones(12))(x[:, :2, :2]).numpy(), 2 * (x[:, :2, :2].numpy() - 1))


# ---- places ------------------------------------------------------------------------------------------------------------

def both(transform):
    """What a transform makes of the photograph as bytes (a tensor) and as a PIL image, (h, w, c)."""
    return [back(transform(planes())), back(transform(PHOTO))]


@pytest.mark.parametrize("case", [
    (T.CenterCrop(20), lambda a: a[8:28, 15:35]), (T.CenterCrop((11, 50)), lambda a: a[13:24]),
    (T.CenterCrop((41, 20)), lambda a: np.pad(a[:, 15:35], ((2, 2), (0, 0), (0, 0)))),
    (T.Pad(3), lambda a: np.pad(a, ((3, 3), (3, 3), (0, 0)))),
    (T.Pad((1, 2)), lambda a: np.pad(a, ((2, 2), (1, 1), (0, 0)))),
    (T.Pad((1, 2, 3, 4), fill=9), lambda a: np.pad(a, ((2, 4), (1, 3), (0, 0)), constant_values=9)),
    (T.Pad((1, 2, 3, 4), padding_mode="edge"), lambda a: np.pad(a, ((2, 4), (1, 3), (0, 0)), "edge")),
    (T.Pad((1, 2, 3, 4), padding_mode="reflect"), lambda a: np.pad(a, ((2, 4), (1, 3), (0, 0)), "reflect")),
    (T.Pad((1, 2, 3, 4), padding_mode="symmetric"), lambda a: np.pad(a, ((2, 4), (1, 3), (0, 0)), "symmetric")),
    (T.Pad((-1, 2, 3, -4), padding_mode="symmetric"), lambda a: np.pad(a[:-4, 1:], ((2, 0), (0, 3), (0, 0)), "symmetric")),
    (T.Pad((-1, 2, 3, -4)), lambda a: np.pad(a[:-4, 1:], ((2, 0), (0, 3), (0, 0)))),
    (T.RandomHorizontalFlip(1), lambda a: a[:, ::-1]), (T.RandomVerticalFlip(1), lambda a: a[::-1]),
    (T.RandomHorizontalFlip(0), lambda a: a),
    (T.RandomAffine(0, translate=(0, 0)), lambda a: a),
    (T.RandomRotation((180, 180)), lambda a: a[::-1, ::-1]),
    (T.Compose([T.CenterCrop((36, 50)), T.RandomRotation((90, 90), expand=True)]), lambda a: np.rot90(a[:36])),
    (T.Lambda(lambda x: F.affine(x, 0, [5, -3], 1.0, 0)), lambda a: np.pad(a[3:, :-5], ((0, 3), (5, 0), (0, 0)))),
    (T.Lambda(lambda x: F.affine(x, 0, [5, -3], 1.0, [0, 0], fill=7)),
     lambda a: np.pad(a[3:, :-5], ((0, 3), (5, 0), (0, 0)), constant_values=7)),
    (T.Lambda(lambda x: F.rotate(x, 90, center=[20, 20])[..., :40] if isinstance(x, nt.Tensor)
              else F.crop(F.rotate(x, 90, center=[20, 20]), 0, 0, 37, 40)), lambda a: np.rot90(np.pad(a, ((0, 3), (0, 0), (0, 0)))[:40, :40])[:37]),
    (T.Lambda(lambda x: F.crop(x, -2, 45, 10, 9)), lambda a: np.pad(a[:8, 45:], ((2, 0), (0, 4), (0, 0)))),
    (T.Lambda(lambda x: F.crop(x, 40, -20, 5, 9)), lambda a: np.zeros((5, 9, 3))),
], ids=lambda case: None)
def test_pixels_that_only_move(case):
    """Crops, frames, flips, quarter turns and whole shifts give exactly the pixels that NumPy's slices give, on both kinds."""
    transform, wanted = case
    for found in both(transform):
        assert np.array_equal(found, wanted(BYTES.astype(np.float64)))


def test_palettes_and_modes_survive_padding():
    """A PIL image keeps its mode, and its palette, whichever way it is padded."""
    for mode in ("P", "HSV", "LA", "CMYK", "1"):
        pic = PHOTO.convert(mode)
        for how in ("constant", "edge", "reflect", "symmetric"):
            padded = F.pad(pic, 2, 0 if mode != "LA" else (0, 0), how)
            assert padded.mode == mode and padded.size == (W + 4, H + 4)
            assert np.array_equal(np.asarray(padded.convert("RGB"))[2:-2, 2:-2], np.asarray(pic.convert("RGB"))), (mode, how)


def test_five_and_ten_crops():
    """Corners and middle, and the same of the flipped image, for a square and for (h, w)."""
    a = BYTES.transpose(2, 0, 1)
    parts = [a[:, :16, :20], a[:, :16, 30:], a[:, 21:, :20], a[:, 21:, 30:], a[:, 10:26, 15:35]]
    for x, part in zip(T.FiveCrop((16, 20))(planes()), parts):
        assert np.array_equal(x.numpy(), part)
    for transform, flip in ((T.TenCrop(16), F.hflip), (T.TenCrop([16], vertical_flip=True), F.vflip)):
        ten = transform(PHOTO)
        assert len(ten) == 10 and [c.tobytes() for c in ten] == [
            c.tobytes() for pic in (PHOTO, flip(PHOTO)) for c in F.five_crop(pic, 16)]


def test_sizes():
    """The shorter side is what an int says, max_size limits the longer one, and the same size is the same image."""
    for size, options, wanted in [(20, {}, (20, 27)), ([20], {"max_size": 22}, (16, 22)), ((15, 60), {}, (15, 60)), (37, {}, (37, 50)),
                                  (74, {"max_size": 75}, (55, 75))]:
        resize = T.Resize(size, **options)
        assert resize(planes()).shape == (3, *wanted) and resize(PHOTO).size == wanted[::-1]
        turned = resize(F.rotate(PHOTO, 90, expand=True))
        assert turned.size == wanted if isinstance(size, int) or len(size) == 1 else turned.size == wanted[::-1]
    x = planes()
    assert T.Resize(37)(x) is x and F.get_dimensions(PHOTO) == F.get_dimensions(x) == [3, H, W]
    assert F.get_image_size(x) == F.get_image_size(PHOTO) == [W, H] and F.get_image_num_channels(GRAY) == 1


@pytest.mark.parametrize("mode", ["NEAREST_EXACT", "BILINEAR", "BICUBIC"])
@pytest.mark.parametrize("size", [(19, 26), (15, 60), (70, 90)])
def test_resized_tensors_look_as_pillow_makes_them(mode, size):
    """On bytes, at most a level from Pillow's result: the same filters, antialiased; floats and batches agree with bytes."""
    mode = T.InterpolationMode[mode]
    found = F.resize(planes(), size, mode)
    away = 0 if mode is T.InterpolationMode.NEAREST_EXACT else 1
    assert found.dtype is nt.uint8 and np.abs(back(found) - back(F.resize(PHOTO, size, mode))).max() <= away
    floats = F.resize(nt.stack([planes(nt.float32)] * 2), size, mode)
    assert np.abs(np.clip(floats[1].numpy(), 0, 1) * 255 - found.numpy()).max() <= 0.502
    sharp = F.resize(planes(nt.float32), (9, 9), mode, antialias=False)
    assert (not same(F.resize(planes(nt.float32), (9, 9), mode), sharp)) == bool(away)


def test_nearest_rounds_down():
    """NEAREST takes pixel floor(i * old / new) of a tensor, torch's rule of old; NEAREST_EXACT is Pillow's."""
    found = F.resize(planes(), (20, 27), T.InterpolationMode.NEAREST)
    assert np.array_equal(back(found), BYTES[np.arange(20) * H // 20][:, np.arange(27) * W // 27])


def bilinear(a, x, y):
    """The values of a (h, w, c) at places (x, y), 0 outside, and how much of each place is inside; in float64."""
    h, w = a.shape[:2]
    total, covered = np.zeros((*x.shape, a.shape[2])), np.zeros(x.shape)
    for dx in (0, 1):
        for dy in (0, 1):
            i, j = np.floor(y).astype(int) + dy, np.floor(x).astype(int) + dx
            weight = np.abs(1 - dx - (x - np.floor(x))) * np.abs(1 - dy - (y - np.floor(y)))
            inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
            total += (weight * inside)[..., None] * a[np.clip(i, 0, h - 1), np.clip(j, 0, w - 1)]
            covered += weight * inside
    return total, covered


def test_affine_maps():
    """A turn with shift, scale and shear reads where the inverse matrix says, in float64; Pillow agrees but for its rounding."""
    angle, shift, scale, shear = 20.0, [4, -3], 1.3, [10.0, -5.0]
    r, sx, sy = np.radians([angle, *shear])
    turn = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    linear = scale * turn @ np.array([[1, 0], [-np.tan(sy), 1]]) @ np.array([[1, -np.tan(sx)], [0, 1]])
    centre = np.array([W / 2, H / 2])
    y, x = np.mgrid[:H, :W] + 0.5
    source = np.linalg.inv(linear) @ (np.stack([x, y]).reshape(2, -1) - (centre + shift)[:, None]) + centre[:, None]
    a = BYTES / 255
    values, covered = bilinear(a, *(source.reshape(2, H, W) - 0.5))
    options = {"interpolation": T.InterpolationMode.BILINEAR, "fill": [0.2, 0.4, 0.6]}
    found = F.affine(planes(nt.float32), angle, shift, scale, shear, **options)
    wanted = values * covered[..., None] + (1 - covered[..., None]) * np.array([0.2, 0.4, 0.6])
    assert np.abs(back(found) - wanted).max() < 1e-4
    pic = F.affine(PHOTO, angle, shift, scale, shear, interpolation=T.InterpolationMode.BILINEAR)
    inside = covered == 1
    assert np.abs(back(pic) / 255 - values)[inside].max() < 2.5 / 255
    x = planes(nt.float32).requires_grad_()
    F.affine(x, angle, shift, scale, shear, **options).backward(nt.ones(3, H, W))
    assert x.grad.numpy().any()


def test_perspective_maps():
    """Four corners go where they are told, and what lies between is where the projective map through them takes it."""
    start, end = [[0, 0], [W - 1, 0], [W - 1, H - 1], [0, H - 1]], [[5, 3], [44, 1], [47, 30], [2, 34]]
    c = F._get_perspective_coeffs(start, end)
    y, x = np.mgrid[:H, :W] + 0.5
    below = c[6] * x + c[7] * y + 1
    places = (c[0] * x + c[1] * y + c[2]) / below - 0.5, (c[3] * x + c[4] * y + c[5]) / below - 0.5
    for (x0, y0), (x1, y1) in zip(start, end):
        w = c[6] * x1 + c[7] * y1 + 1
        assert np.allclose([(c[0] * x1 + c[1] * y1 + c[2]) / w, (c[3] * x1 + c[4] * y1 + c[5]) / w], [x0, y0], atol=1e-3)
    wanted, covered = bilinear(BYTES / 255, *places)
    assert np.abs(back(F.perspective(planes(nt.float32), start, end)) - wanted).max() < 1e-4
    pic = back(F.perspective(PHOTO, start, end)) / 255
    assert np.abs(pic - wanted)[covered == 1].max() < 2.5 / 255


def test_displacements():
    """A field of displacements in half widths moves each pixel; a field of 0 changes nothing, on both kinds."""
    still = nt.zeros(1, H, W, 2)
    assert np.abs(back(F.elastic_transform(planes(nt.float32), still)) - BYTES / 255).max() < 1e-4
    assert np.array_equal(back(F.elastic_transform(PHOTO, still)), BYTES)
    right = still.clone()
    right[..., 0] = 2 * 3 / W
    moved = back(F.elastic_transform(planes(), right, T.InterpolationMode.NEAREST, fill=9))
    assert np.array_equal(moved, np.pad(BYTES[:, 3:], ((0, 0), (0, 3), (0, 0)), constant_values=9))


def test_blur():
    """A Gaussian bell in each direction over the image mirrored at its edges, as a plain sum of products gives it."""
    a = np.pad(BYTES / 255, ((3, 3), (2, 2), (0, 0)), "reflect")
    bells = [np.exp(-0.5 * (np.arange(-n, n + 1) / s) ** 2) for n, s in ((3, 0.8), (2, 1.5))]
    down, across = (b / b.sum() for b in bells)
    wanted = sum(down[i] * across[j] * a[i:i + H, j:j + W] for i in range(7) for j in range(5))
    assert np.abs(back(F.gaussian_blur(planes(nt.float32), [5, 7], [1.5, 0.8])) - wanted).max() < 1e-6
    assert np.abs(back(F.gaussian_blur(PHOTO, [5, 7], (1.5, 0.8))) - wanted * 255).max() < 0.501
    assert np.allclose(F.gaussian_blur(planes(), 5).numpy(), F.gaussian_blur(planes(), (5, 5), 1.1).numpy())


# ---- colors ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_sharpness"])
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_factors(name, factor):
    """The blend with black, mean gray, gray or blur in float64; within Pillow's rounding of the gray on PIL images."""
    a = BYTES / 255
    gray = a @ [0.2989, 0.587, 0.114]
    smooth = a.copy()
    smooth[1:-1, 1:-1] = (sum(a[i:H - 2 + i, j:W - 2 + j] for i in range(3) for j in range(3)) + 4 * a[1:-1, 1:-1]) / 13
    other = {"adjust_brightness": 0 * a, "adjust_contrast": gray.mean(), "adjust_saturation": gray[..., None], "adjust_sharpness": smooth}
    wanted = np.clip(factor * a + (1 - factor) * other[name], 0, 1)
    found = getattr(F, name)(planes(nt.float32), factor)
    assert np.abs(back(found) - wanted).max() < 1e-6
    for x in (planes(), PHOTO):
        assert np.abs(back(getattr(F, name)(x, factor)) - wanted * 255).max() < 2.5


def test_hue():
    """Hues turned by colorsys, saturation and value kept, grays too; a turn by 1/2 and back is the same; Pillow nearly."""
    colors = [(0, 0, 0), (1, 1, 1), (0.3, 0.3, 0.3), (1, 0, 0), (0.2, 0.9, 0.1), (0.1, 0.2, 0.9), (0.7, 0.6, 0.1), (0.5, 0.1, 0.5)]
    x = nt.from_numpy(np.array(colors, np.float32).T.reshape(3, 2, 4).copy())
    for turn in (-0.5, -0.2, 0.0, 0.13, 0.5):
        wanted = []
        for color in colors:
            h, s, v = colorsys.rgb_to_hsv(*color)
            wanted.append(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
        assert np.abs(F.adjust_hue(x, turn).numpy().reshape(3, 8).T - wanted).max() < 1e-5, turn
    assert np.abs(back(F.adjust_hue(F.adjust_hue(planes(), 0.5), -0.5)) - BYTES).max() <= 2
    assert np.abs(back(F.adjust_hue(planes(), 0.2)) - back(F.adjust_hue(PHOTO, 0.2))).mean() < 2
    assert F.adjust_hue(GRAY, 0.3) is GRAY
    leaf = x.clone().requires_grad_()
    F.adjust_hue(leaf, 0.1).backward(nt.ones(3, 2, 4))
    assert np.isfinite(leaf.grad.numpy()).all()


def test_levels():
    """Negative, gamma, fewer bits, negative from a level on, stretched and equalized levels, as their formulas say."""
    a, x = BYTES.astype(np.int64), planes()
    assert all(np.array_equal(b, 255 - a) for b in both(F.invert))
    assert all(np.array_equal(b, a // 32 * 32) for b in both(lambda i: F.posterize(i, 3)))
    assert all(np.array_equal(b, np.where(a >= 100, 255 - a, a)) for b in both(lambda i: F.solarize(i, 100)))
    assert all(np.array_equal(b, np.floor(255.999 * (a / 255) ** 1.7)) for b in both(lambda i: F.adjust_gamma(i, 1.7)))
    dark = (a // 2 + 20).astype(np.uint8)
    low, high = dark.min((0, 1)), dark.max((0, 1))
    stretched = F.autocontrast(nt.from_numpy(dark.transpose(2, 0, 1).copy()))
    assert np.abs(back(stretched) - (dark.astype(float) - low) * 255 / (high - low)).max() <= 1
    assert np.abs(back(stretched) - back(F.autocontrast(Image.fromarray(dark)))).max() <= 1
    assert same(F.autocontrast(nt.full((3, 4, 4), 7, dtype=nt.uint8)), nt.full((3, 4, 4), 7, dtype=nt.uint8))
    assert np.abs(back(F.equalize(x)) - back(F.equalize(PHOTO))).max() <= 1
    assert same(F.equalize(nt.stack([x, x]))[1], F.equalize(x))
    assert np.array_equal(back(F.invert(planes(nt.float32))), 1 - back(planes(nt.float32)).astype(np.float32))


def test_grays():
    """0.2989 R + 0.587 G + 0.114 B, in one channel or three, for both kinds; a random choice keeps the channels."""
    wanted = BYTES @ [0.2989, 0.587, 0.114]
    for x in (planes(), PHOTO):
        assert np.abs(back(T.Grayscale()(x))[:, :, 0] - wanted).max() <= 1
        three = back(T.RandomGrayscale(1.0)(x))
        assert three.shape == (H, W, 3) and np.ptp(three, axis=2).max() == 0
    assert F.to_grayscale(PHOTO.convert("HSV"), 3).mode == "RGB"
    assert same(F.rgb_to_grayscale(planes()[:1]), planes()[:1])


def test_erasing():
    """The rectangle holds the value of each channel, all else stays, a copy or in place; noise covers where random is asked."""
    x = planes(nt.float32)
    y = F.erase(x, 3, 5, 7, 9, nt.tensor([1.0, 2.0, 3.0])[:, None, None])
    assert (y.numpy()[1, 3:10, 5:14] == 2).all() and (y.numpy() != x.numpy()).sum() <= 3 * 63 and same(x, planes(nt.float32))
    noisy = T.RandomErasing(1.0, value="random")(x)
    changed = np.argwhere((noisy.numpy() != x.numpy()).any(0))
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert len(changed) == (bottom - top + 1) * (right - left + 1) and 0.02 < len(changed) / (H * W) < 0.34
    assert T.RandomErasing(1.0, inplace=True)(x) is x and (x.numpy() == 0).any()
    assert same(T.RandomErasing(1.0, scale=(0.99, 1.0), ratio=(9.0, 9.0))(x), x)      # no rectangle of that shape fits


# ---- randomness --------------------------------------------------------------------------------------------------------

# what torchvision 0.28 draws after torch.manual_seed(7), twice, and torch.rand(1) after that; ranges of 37 x 50 images
DRAWS = [
    ("RandomCrop", ("image", (20, 24)), [(9, 13, 20, 24), (7, 11, 20, 24)], 0.23276156187057495),
    ("RandomResizedCrop", ("image", (0.08, 1.0), (3 / 4, 4 / 3)), [(1, 8, 35, 30), (13, 15, 24, 23)], 0.36531615257263184),
    ("RandomErasing", ("image", (0.02, 0.33), (0.3, 3.3), [0.0]), [(21, 14, 13, 27), (15, 34, 12, 14)], 0.36531615257263184),
    ("RandomPerspective", (50, 37, 0.5), [([[0, 0], [49, 0], [49, 36], [0, 36]], [[6, 2], [41, 6], [40, 34], [2, 36]]),
                                          ([[0, 0], [49, 0], [49, 36], [0, 36]], [[11, 1], [47, 1], [42, 34], [10, 27]])],
     0.720380425453186),
    ("RandomRotation", ([-30.0, 30.0],), [2.0953524112701416, -18.071807861328125], 0.6592116951942444),
    ("RandomAffine", ([-30.0, 30.0], (0.1, 0.3), (0.5, 1.5), [-5.0, 5.0, -20.0, 20.0], [50, 37]),
     [(2.0953524112701416, (-3, 4), 1.1568902730941772, (-2.672384262084961, -2.9975438117980957)),
      (-17.574838638305664, (1, -3), 1.3512682914733887, (3.549431562423706, 2.0374083518981934))], 0.28683900833129883),
    ("ColorJitter", ((0.5, 1.5), (0.5, 1.5), None, (-0.1, 0.1)),
     [([3, 2, 0, 1], 1.1568902730941772, 0.732761561870575, None, -0.014987719245254993),
      ([3, 0, 2, 1], 1.3512682914733887, 1.3549431562423706, None, 0.010187041945755482)], 0.28683900833129883),
    ("GaussianBlur", (0.1, 2.0), [1.1163527965545654, 0.4777260422706604], 0.6592116951942444),
    ("AutoAugment", (25,), [(15, [0.19880318641662598, 0.6592116951942444], [0, 1]),
                            (22, [0.20708602666854858, 0.6297363638877869], [0, 1])], 0.8549431562423706),
]


def plain(value):
    if isinstance(value, nt.Tensor):
        return value.tolist()
    return type(value)(plain(v) for v in value) if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize("name, arguments, wanted, after", DRAWS, ids=[case[0] for case in DRAWS])
def test_draws_are_torchvisions(name, arguments, wanted, after):
    """From one seed get_params gives torchvision's values, and leaves the generator where torchvision leaves it."""
    nt.manual_seed(7)
    found = [getattr(T, name).get_params(*(planes(nt.float32) if a == "image" else a for a in arguments)) for _ in wanted]
    if name == "RandomErasing":
        found = [drawn[:4] for drawn in found]
    assert plain(found) == wanted and nt.rand(1).item() == after


def test_weights_of_mixtures_are_torchs():
    """AugMix's Dirichlet weights are torch._sample_dirichlet's, and the generator ends where torch's does."""
    from numtorch.vision.transforms._draws import dirichlet

    nt.manual_seed(7)
    assert np.allclose(dirichlet([1.0, 0.5, 3.0], 1).numpy(), [[0.1294, 0.0616, 0.8090]], atol=1e-4)
    assert np.allclose(dirichlet([1.0, 1.0], 2).numpy(), [[0.2598, 0.7402], [0.2630, 0.7370]], atol=1e-4)
    assert nt.rand(1).item() == 0.6266505718231201


def test_how_often():
    """Over 400 images a chance of 1/4 acts about 100 times, of 0 and 1 never and always; both kinds draw alike."""
    x = planes()[:, :4, :4]
    for make in (T.RandomHorizontalFlip, T.RandomInvert, lambda p: T.RandomApply([T.RandomInvert(1)], p)):
        acts = sum(not same(make(0.25)(x), x) for _ in range(400))
        assert 70 < acts < 130 and same(make(0)(x), x) and not same(make(1)(x), x)
    for transform in (T.RandomCrop(20), T.RandomPosterize(3), T.RandomVerticalFlip(), T.RandomSolarize(99)):
        nt.manual_seed(3)
        on_tensors = [back(transform(planes())) for _ in range(4)]
        nt.manual_seed(3)
        assert all(np.array_equal(a, back(transform(PHOTO))) for a in on_tensors)


def test_choices_come_from_python():
    """RandomOrder and RandomChoice follow random.seed: shuffled orders, and weights."""
    steps = [lambda v, d=d: [*v, d] for d in "abc"]
    random.seed(0)
    order = [0, 1, 2]
    random.shuffle(order)
    random.seed(0)
    assert T.RandomOrder(steps)([]) == ["abc"[i] for i in order]
    assert {T.RandomChoice(steps)([])[0] for _ in range(60)} == {*"abc"}
    assert {T.RandomChoice(steps, p=[0, 1, 0])([])[0] for _ in range(9)} == {"b"}
    with pytest.raises(NotImplementedError, match="RandomTransforms"):
        T.RandomTransforms(steps)([])


@pytest.mark.parametrize("make", [T.AutoAugment, T.RandAugment, T.TrivialAugmentWide, T.AugMix,
                                  lambda: T.AutoAugment(T.AutoAugmentPolicy.CIFAR10), lambda: T.AutoAugment(T.AutoAugmentPolicy.SVHN),
                                  lambda: T.RandAugment(4, 30, fill=7), lambda: T.AugMix(10, 2, 3, 0.5, all_ops=False, fill=[1, 2, 3])])
def test_augmentations(make):
    """Chains of random steps keep size, mode and type on both kinds, change something, and follow the seed."""
    transform, results = make(), []
    for _ in range(2):
        nt.manual_seed(1)
        results.append([transform(planes()) for _ in range(8)] + [nt.from_numpy(np.array(transform(PHOTO))).permute(2, 0, 1) for _ in range(8)])
    assert all(y.shape == (3, H, W) and y.dtype is nt.uint8 for y in results[0])
    assert all(same(a, b) for a, b in zip(*results)) and any(not same(y, planes()) for y in results[0])


# ---- forms, names, errors ----------------------------------------------------------------------------------------------

def test_printed_forms():
    """repr is torchvision's, for transforms whose form says more than their arguments."""
    forms = {
        "Compose(\n    Resize(size=20, interpolation=bilinear, max_size=None, antialias=True)\n    ToTensor()\n)":
            T.Compose([T.Resize(20), T.ToTensor()]),
        "RandomApply(\n    p=0.5\n    RandomVerticalFlip(p=0.5)\n)": T.RandomApply([T.RandomVerticalFlip()]),
        "RandomChoice(\n    Grayscale(num_output_channels=1)\n)(p=None)": T.RandomChoice([T.Grayscale()]),
        "RandomAffine(degrees=[-5.0, 5.0], translate=(0.1, 0.1), interpolation=bilinear, fill=3)":
            T.RandomAffine(5, (0.1, 0.1), interpolation=2, fill=3),
        "RandomRotation(degrees=[-5.0, 5.0], interpolation=nearest, expand=False, fill=0)": T.RandomRotation(5),
        "RandomResizedCrop(size=(8, 8), scale=(0.08, 1.0), ratio=(0.75, 1.3333), interpolation=bilinear, antialias=True)":
            T.RandomResizedCrop(8),
        "ColorJitter(brightness=(0.5, 1.5), contrast=None, saturation=None, hue=(-0.1, 0.1))": T.ColorJitter(0.5, hue=0.1),
        "RandomPosterize(bits=2,p=0.5)": T.RandomPosterize(2),
        "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False)": T.RandomErasing(),
        "ElasticTransform(alpha=[50.0, 50.0], sigma=[5.0, 5.0], interpolation=InterpolationMode.BILINEAR, fill=[0.0])": T.ElasticTransform(),
        "AutoAugment(policy=AutoAugmentPolicy.IMAGENET, fill=None)": T.AutoAugment(),
        "LinearTransformation(transformation_matrix=[[1.0]], mean_vector=[0.0])": T.LinearTransformation(nt.eye(1), nt.zeros(1)),
        "ToPILImage(mode=HSV)": T.ToPILImage("HSV"),
        "Lambda()": T.Lambda(abs),
    }
    for form, transform in forms.items():
        assert repr(transform) == form
        assert isinstance(transform, T.Lambda) or repr(pickle.loads(pickle.dumps(transform))) == form


def test_old_names_warn():
    """Scale and RandomSizedCrop work as Resize and RandomResizedCrop, each with one warning that names today's spelling."""
    with pytest.warns(DeprecationWarning, match="Scale.*use transforms.Resize"):
        old = T.Scale(20)
    assert isinstance(old, T.Resize) and old(PHOTO).size == (27, 20)
    with pytest.warns(DeprecationWarning, match="RandomSizedCrop.*use transforms.RandomResizedCrop"):
        old = T.RandomSizedCrop(20)
    assert old(PHOTO).size == (20, 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        T.Compose([T.Resize(20, interpolation=2), T.RandomRotation(5, interpolation=Image.Resampling.BILINEAR)])(PHOTO)
    with pytest.warns(UserWarning, match="Anti-alias option is always applied for PIL"):
        T.Resize(20, antialias=False)(PHOTO)


ERRORS = [
    (lambda: T.Resize("3.5"), ValueError, "1 or 2 values"),
    (lambda: T.Resize(3.0), TypeError, "Size should be int or sequence. Got <class 'float'>"),
    (lambda: T.Resize((1, 2, 3)), ValueError, "If size is a sequence, it should have 1 or 2 values"),
    (lambda: T.Resize(3, interpolation="bilinear"), TypeError, "interpolation should be a InterpolationMode or a corresponding"),
    (lambda: T.Resize(3, interpolation=9), ValueError, "Pillow's integer constants 0 to 5, got 9"),
    (lambda: T.Resize(3)(BYTES), TypeError, "Unexpected type <class 'numpy.ndarray'>"),
    (lambda: T.Resize(30, max_size=20)(PHOTO), ValueError, "max_size = 20 must be strictly greater than the requested size for the smaller edge size"),
    (lambda: F.hflip(BYTES), TypeError, "img should be PIL Image. Got <class 'numpy.ndarray'>"),
    (lambda: T.RandomCrop(40)(PHOTO), ValueError, r"Required crop size \(40, 40\) is larger than input image size \(37, 50\)"),
    (lambda: T.FiveCrop(40)(PHOTO), ValueError, r"Requested crop size \(40, 40\) is bigger than input size \(37, 50\)"),
    (lambda: T.CenterCrop((1, 2, 3)), ValueError, r"Please provide only two dimensions \(h, w\) for size."),
    (lambda: T.Pad((1, 2, 3)), ValueError, "Padding must be an int or a 1, 2, or 4 element tuple, not a 3 element tuple"),
    (lambda: T.Pad(1, padding_mode="wrap"), ValueError, "Padding mode should be either constant, edge, reflect or symmetric"),
    (lambda: F.pad(planes(), 1, (1, 2, 3)), TypeError, "Got inappropriate fill arg"),
    (lambda: F.pad(planes(), 60, padding_mode="symmetric"), IndexError, "symmetric padding of 60"),
    (lambda: T.Normalize((0.5,), (0.0,))(planes(nt.float32)), ValueError, "std evaluated to zero after conversion to torch.float32"),
    (lambda: T.Normalize((0.5,), (0.5,))(planes()), TypeError, "Input tensor should be a float tensor. Got torch.uint8."),
    (lambda: T.Normalize((0.5,), (0.5,))(PHOTO), TypeError, "img should be Tensor Image. Got <class 'PIL.Image.Image'>"),
    (lambda: T.Normalize((0.5,) * 3, (0.5,) * 3)(planes(nt.float32)[:1]), RuntimeError, "doesn't match the broadcast shape"),
    (lambda: T.ToTensor()([1]), TypeError, "pic should be PIL Image or ndarray. Got <class 'list'>"),
    (lambda: T.ToTensor()(np.zeros(3)), ValueError, "pic should be 2/3 dimensional. Got 1 dimensions."),
    (lambda: T.ToTensor()(np.zeros((2, 2), "u2")), TypeError, "can't convert np.ndarray of type numpy.uint16"),
    (lambda: T.ToPILImage()(np.zeros((2, 2, 5))), ValueError, "pic should not have > 4 channels. Got 5 channels."),
    (lambda: T.ToPILImage()(np.zeros((2, 2), "i8")), TypeError, "Input type int64 is not supported"),
    (lambda: T.ToPILImage("RGBA")(planes()), ValueError, "Only modes .*'RGB', 'YCbCr', 'HSV'.* are supported for 3D inputs"),
    (lambda: T.ColorJitter(-1), ValueError, "If brightness is a single number, it must be non negative."),
    (lambda: T.ColorJitter(hue=0.6), ValueError, r"hue values should be between \(-0.5, 0.5\), but got \[-0.6, 0.6\]."),
    (lambda: T.ColorJitter(contrast="a"), TypeError, "contrast should be a single number or a list/tuple with length 2."),
    (lambda: T.RandomRotation(-1), ValueError, "If degrees is a single number, it must be positive."),
    (lambda: T.RandomRotation((1, 2, 3)), ValueError, "degrees should be a sequence of length 2."),
    (lambda: T.RandomRotation(5, interpolation=3)(planes()), ValueError, "Interpolation mode 'bicubic' is unsupported with Tensor input"),
    (lambda: T.RandomRotation(5, fill=np), TypeError, "Fill should be either a sequence or a number."),
    (lambda: F.rotate(planes(), 5, fill=[1, 2]), ValueError, r"cannot broadcast to match the number of channels of the image \(2 != 3\)"),
    (lambda: F.rotate(PHOTO, 5, fill=[1, 2]), ValueError, r"does not match the number of channels of the image \(2 != 3\)"),
    (lambda: T.RandomAffine(5, translate=(0, 2)), ValueError, "translation values should be between 0 and 1"),
    (lambda: T.RandomAffine(5, scale=(0, 2)), ValueError, "scale values should be positive"),
    (lambda: F.affine(planes(), 0, [0, 0], 0, 0), ValueError, "Argument scale should be positive"),
    (lambda: F.perspective(PHOTO, [[0, 0]], [[0, 0]]), ValueError, "exactly four corners, got 1 startpoints and 1 endpoints."),
    (lambda: T.RandomErasing(2), ValueError, "Random erasing probability should be between 0 and 1"),
    (lambda: T.RandomErasing(value="noise"), ValueError, "If value is str, it should be 'random'"),
    (lambda: T.RandomErasing(1)(PHOTO), TypeError, "img should be Tensor Image. Got <class 'PIL.Image.Image'>"),
    (lambda: T.GaussianBlur(4), ValueError, "Kernel size value should be an odd and positive number."),
    (lambda: F.gaussian_blur(planes(), 3, -1.0), ValueError, "sigma should have positive values"),
    (lambda: F.adjust_hue(planes(), 0.7), ValueError, r"hue_factor \(0.7\) is not in \[-0.5, 0.5\]."),
    (lambda: F.adjust_brightness(planes(), -1), ValueError, r"brightness_factor \(-1\) is not non-negative."),
    (lambda: F.adjust_contrast(nt.zeros(2, 4, 4), 1), TypeError, r"permitted channel values are \[3, 1\], but found 2"),
    (lambda: F.posterize(planes(nt.float32), 3), TypeError, "Only torch.uint8 image tensors are supported, but found torch.float32"),
    (lambda: F.posterize(planes(), 9), ValueError, "The number if bits should be between 0 and 8. Got 9"),
    (lambda: F.solarize(planes(nt.float32), 2), TypeError, "Threshold should be less than bound of img."),
    (lambda: F.hflip(nt.zeros(3)), TypeError, "Tensor is not a torch image."),
    (lambda: T.Lambda(3), TypeError, "Argument lambd should be callable, got 'int'"),
    (lambda: T.RandomChoice(3), TypeError, "Argument transforms should be a sequence"),
    (lambda: T.AutoAugment("imagenet"), ValueError, "The provided policy imagenet is not recognized."),
    (lambda: T.AugMix(0), ValueError, r"The severity must be between \[1, 10\]. Got 0 instead."),
    (lambda: T.ElasticTransform(3), TypeError, "alpha should be float or a sequence of floats. Got <class 'int'>"),
    (lambda: F.elastic_transform(PHOTO, nt.zeros(1, 2, 2, 2)), ValueError, "Argument displacement shape should be"),
    (lambda: T.LinearTransformation(nt.eye(3), nt.zeros(2)), ValueError, "mean_vector should have the same length 2"),
]


@pytest.mark.parametrize("case", ERRORS, ids=range(len(ERRORS)))
def test_errors(case):
    """What cannot be done ends in an error that says what was expected and what came."""
    call, error, words = case
    with pytest.raises(error, match=words):
        call()


def test_the_modules_have_torchvisions_names():
    """transforms.transforms, .functional and .autoaugment can be imported, and star imports give every class."""
    names = {}
    exec("from numtorch.vision.transforms import *", names)
    assert {"Compose", "TrivialAugmentWide", "InterpolationMode", "Scale", "RandomErasing"} <= names.keys()
    assert T.transforms.Resize is T.Resize and T.functional.InterpolationMode is T.InterpolationMode
    assert T.autoaugment.AugMix is T.AugMix
    for name in T.transforms.__all__ + T.autoaugment.__all__ + F.__all__:
        value = getattr(T, name, None) or getattr(F, name)
        assert value.__doc__ and (isinstance(value, dict) or value.__module__.startswith("numtorch.vision.transforms")), name


# ---- torchvision, where it is installed --------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def torchvision():
    """torchvision.transforms and torch; the wheel for CUDA cannot be imported beside torch for the CPU."""
    torch = pytest.importorskip("torch")
    try:
        import torchvision.transforms
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no torchvision: {error}")
    return torchvision.transforms, torch


# (name, arguments, keywords, how far floats may be apart); an interpolation or policy is given by its name
PARITY = [
    ("Resize", (20,), {}, 3e-6), ("Resize", ([20],), {"max_size": 22}, 3e-6), ("Resize", ((15, 60),), {"interpolation": 3}, 3e-6),
    ("Resize", (20,), {"interpolation": "NEAREST_EXACT"}, 0), ("Resize", ((70, 22),), {"antialias": False}, 3e-6),
    ("CenterCrop", ((60, 41),), {}, 0), ("Pad", ((1, 2, 3, 4),), {"fill": 7}, 0), ("Pad", ((-3, 2, 1, -2),), {"padding_mode": "symmetric"}, 0),
    ("Pad", ((-3, 2, 1, -2),), {"padding_mode": "edge"}, 0), ("RandomCrop", (32,), {"padding": 4}, 0),
    ("RandomCrop", ((60, 45),), {"pad_if_needed": True, "padding_mode": "edge"}, 0), ("RandomCrop", ((37, 50),), {}, 0),
    ("RandomHorizontalFlip", (), {}, 0), ("RandomVerticalFlip", (0.3,), {}, 0), ("RandomPerspective", (), {"p": 1.0}, 1e-4),
    ("RandomPerspective", (0.7,), {"p": 0.8, "interpolation": 0, "fill": 9}, 0), ("RandomResizedCrop", (24,), {}, 3e-6),
    ("RandomResizedCrop", ((24, 30),), {"scale": (0.5, 2.0), "ratio": (0.3, 0.4), "interpolation": 3, "antialias": None}, 3e-6),
    ("RandomResizedCrop", (24,), {"scale": (5.0, 6.0), "ratio": (3.0, 4.0)}, 3e-6), ("FiveCrop", (20,), {}, 0),
    ("TenCrop", ((20, 10),), {"vertical_flip": True}, 0), ("ColorJitter", (0.5, 0.5, 0.5, 0.3), {}, 2e-6),
    ("RandomRotation", (30,), {}, 0), ("RandomRotation", (180,), {"interpolation": "BILINEAR", "expand": True, "fill": 1}, 1e-4),
    ("RandomRotation", (45,), {"center": (3, 5), "fill": [2]}, 0), ("RandomAffine", (30,), {}, 0),
    ("RandomAffine", ((10, 20),), {"translate": (0.1, 0.3), "scale": (0.5, 1.5), "shear": 10, "interpolation": 2, "fill": 1}, 1e-4),
    ("RandomAffine", (0,), {"shear": (-5, 5, -20, 20), "center": [1, 2]}, 0), ("Grayscale", (3,), {}, 1e-7), ("RandomGrayscale", (0.5,), {}, 1e-7),
    ("RandomErasing", (1.0,), {"value": "random"}, 2e-6), ("RandomErasing", (0.5,), {"value": (0.1, 0.2, 0.3)}, 0),
    ("GaussianBlur", ((5, 9),), {"sigma": 1.5}, 1e-6), ("GaussianBlur", ([11],), {}, 1e-6), ("RandomInvert", (), {}, 0),
    ("RandomPosterize", (3,), {}, 0), ("RandomSolarize", (0.5,), {}, 0), ("RandomAdjustSharpness", (2,), {}, 1e-6),
    ("RandomAutocontrast", (), {}, 1e-6), ("RandomEqualize", (), {}, 0), ("ElasticTransform", ([30.0, 10.0], [2.0, 4.0]), {"fill": (1, 2, 3)}, 1e-4),
    ("AutoAugment", (), {}, 1e-4), ("AutoAugment", ("CIFAR10",), {"fill": 1}, 1e-4), ("AutoAugment", ("SVHN",), {"interpolation": "BILINEAR"}, 1e-4),
    ("RandAugment", (3, 15), {}, 1e-4), ("TrivialAugmentWide", (), {}, 1e-4), ("AugMix", (5, 2, 3, 0.5), {}, 1e-4),
    ("Normalize", ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)), {}, 0), ("Normalize", (0.5, [0.5]), {}, 0), ("ToTensor", (), {}, 0),
    ("PILToTensor", (), {}, 0), ("ToPILImage", ("YCbCr",), {}, 0),
]


def made(module, name, arguments, keywords):
    keywords = dict(keywords)
    if isinstance(keywords.get("interpolation"), str):
        keywords["interpolation"] = module.InterpolationMode[keywords["interpolation"]]
    if name == "AutoAugment" and arguments:
        arguments = (module.AutoAugmentPolicy[arguments[0]],)
    return getattr(module, name)(*arguments, **keywords)


def outcome(transform, x):
    """The arrays that a transform gives, with their modes, or the type of its error."""
    try:
        y = transform(x)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        return type(error)
    return [(v.mode, np.asarray(v)) if isinstance(v, Image.Image) else (None, v.numpy()) for v in (y if isinstance(y, tuple) else [y])]


@pytest.mark.parametrize("name, arguments, keywords, tolerance", PARITY, ids=[f"{i}-{case[0]}" for i, case in enumerate(PARITY)])
def test_like_torchvision(torchvision, name, arguments, keywords, tolerance):
    """Same form, same result from the same seed on PIL images and tensors, the generators left alike, an error where there is one."""
    theirs, torch = torchvision
    old, new = made(theirs, name, arguments, keywords), made(T, name, arguments, keywords)
    assert repr(old) == repr(new)
    a = np.ascontiguousarray(BYTES.transpose(2, 0, 1))
    for pixels in (PHOTO, GRAY, a, a.astype(np.float32) / 255, np.stack([a, a[:, ::-1]])[:, :1] / np.float32(255)):
        for seed in range(4 if "Random" in name or "Au" in name else 2):
            torch.manual_seed(seed)
            nt.manual_seed(seed)
            image = isinstance(pixels, Image.Image)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = outcome(old, pixels if image else torch.from_numpy(pixels.copy()))
                found = outcome(new, pixels if image else nt.from_numpy(pixels.copy()))
            if isinstance(wanted, type) or isinstance(found, type):
                assert isinstance(wanted, type) and isinstance(found, type)
                continue
            assert torch.rand(1).item() == nt.rand(1).item()
            assert len(wanted) == len(found)
            for (mode, y), (own_mode, z) in zip(wanted, found):
                assert mode == own_mode and y.dtype == z.dtype and y.shape == z.shape
                apart = np.abs(y.astype(np.float64) - z)
                if y.dtype.kind in "ui" and tolerance:      # averages that fall between two levels
                    assert apart.max() <= 2 and (apart > 0).mean() < 0.03
                else:
                    assert apart.max() <= tolerance
