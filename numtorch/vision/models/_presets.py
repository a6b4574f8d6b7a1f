"""The transform with which weights of a classifier were evaluated: what a photograph goes through before the model."""
from ... import Tensor, float32, nn


class ImageClassification(nn.Module):
    """Resizes, cuts the middle out, scales to [0, 1] and normalises.

    Args:
        crop_size (int): height and width of the result.
        resize_size (int): length of the shorter side before that.
        mean, std (sequence of float): of each channel, subtracted and divided by.
        interpolation (InterpolationMode or str): how it is resized.
        antialias (bool): smooth before a tensor is made smaller.

    Calling it turns a PIL image, or a tensor (..., 3, H, W) of uint8 or of floats in [0, 1], into float32
    (..., 3, crop_size, crop_size).
    """

    def __init__(self, *, crop_size, resize_size=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
                 interpolation="bilinear", antialias=True):
        from ..transforms import InterpolationMode

        super().__init__()
        self.crop_size, self.resize_size = [crop_size], [resize_size]
        self.mean, self.std = list(mean), list(std)
        self.interpolation, self.antialias = InterpolationMode(interpolation), antialias

    def forward(self, img):
        from ..transforms import functional as F

        img = F.resize(img, self.resize_size, interpolation=self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        if not isinstance(img, Tensor):
            img = F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img, float32), mean=self.mean, std=self.std)

    def __repr__(self):
        lines = [f"    {name}={getattr(self, name)}" for name in ("crop_size", "resize_size", "mean", "std", "interpolation")]
        return "\n".join([type(self).__name__ + "(", *lines, ")"])

    def describe(self):
        """What it does, in words."""
        return ("Accepts ``PIL.Image``, batched ``(B, C, H, W)`` and single ``(C, H, W)`` image ``torch.Tensor`` objects. The "
                f"images are resized to ``resize_size={self.resize_size}`` using ``interpolation={self.interpolation}``, "
                f"followed by a central crop of ``crop_size={self.crop_size}``. Finally the values are first rescaled to "
                f"``[0.0, 1.0]`` and then normalized using ``mean={self.mean}`` and ``std={self.std}``.")
