"""What is known of weights that were trained on ImageNet."""
from functools import partial

from ._api import Weights
from ._categories import IMAGENET
from ._presets import ImageClassification

_IMAGENET_CATEGORIES = IMAGENET     # torchvision's name

ADDRESS = "https://download.pytorch.org/models/"
TORCHVISION = "https://github.com/pytorch/vision/"
CLASSIFICATION = TORCHVISION + "tree/main/references/classification#"


def imagenet(file, params, top1, top5, gflops, megabytes, recipe, min_size=1, categories=IMAGENET, **preset):
    """The description of a published file of weights.

    Args:
        file (str): its name, ``model-<first 8 digits of its SHA-256>``.
        params (int): the model's parameters.
        top1, top5 (float): its accuracy in percent on the validation images of ImageNet-1K.
        gflops (float): 10^9 multiplications with additions for one image.
        megabytes (float): the file's size, in 2^20 bytes.
        recipe (str): the address of the account of its training.
        min_size (int): the smallest image that the model accepts.
        categories (list of str): its classes' names.
        **preset: arguments of the transform that differ from ``ImageClassification``'s with a crop of 224.
    """
    meta = {"num_params": params, "min_size": (min_size, min_size), "categories": categories, "recipe": recipe,
            "_metrics": {"ImageNet-1K": {"acc@1": top1, "acc@5": top5}}, "_ops": gflops, "_file_size": megabytes}
    return Weights(ADDRESS + file + ".pth", partial(ImageClassification, **{"crop_size": 224, **preset}), meta)
