"""Softmax regression from scratch: ten templates, one for each kind of clothing, are learnt from Fashion-MNIST.

    python demos/softmax_regression.py [--epochs 10] [--quick] [--device cpu] [--seed 0] [--data data] [--picture softmax.png]

The score of a kind is the product of the image with a template, summed up; softmax makes probabilities of the ten scores, and
the loss is minus the logarithm of the right one's. Here all of it is written with tensors alone, without nn and optim; only
the gradient is left to backward(). At the end there is a picture of the templates: what the ten kinds look like on average, and
what tells them from the others. --quick learns from drawn clothes unless the folder --data has Fashion-MNIST.
"""
import argparse

import matplotlib
from _images import fashion_mnist
from tqdm import tqdm

import numtorch as torch

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402

BATCH = 100


def softmax(scores):
    """Probabilities (n, 10) of scores (n, 10); the largest of a row is taken off first, so that exp() does not overflow."""
    powers = (scores - scores.amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def cross_entropy(probabilities, targets):
    """The mean of minus the logarithm of the probability that each row gives to its target."""
    return -probabilities.gather(1, targets.unsqueeze(1)).log().mean()


def flatten(dataset, device):
    """The images as rows of numbers from 0 to 1, float32 (n, 784), and their classes, int64 (n,)."""
    images = torch.as_tensor(dataset.data).to(device).float() / 255
    return images.flatten(1), torch.as_tensor(dataset.targets).to(device)


def accuracy(images, targets, weight, bias):
    """The share of images whose highest score is the right one's."""
    with torch.no_grad():
        return ((images @ weight + bias).argmax(dim=1) == targets).float().mean().item()


def train(images, targets, weight, bias, epochs, rate):
    """Stochastic gradient descent; yields the mean loss of each epoch."""
    for epoch in (progress := tqdm(range(epochs), unit="epoch")):
        total, order = 0.0, torch.randperm(len(images), device=images.device)
        for chosen in order.split(BATCH):
            loss = cross_entropy(softmax(images[chosen] @ weight + bias), targets[chosen])
            loss.backward()
            with torch.no_grad():
                for parameter in (weight, bias):
                    parameter -= rate * parameter.grad
                    parameter.grad.zero_()
            total += loss.item() * len(chosen)
        progress.set_description(f"epoch {epoch + 1}/{epochs}, loss {total / len(images):.4f}")
        yield total / len(images)


def draw(path, losses, shares, weight, classes):
    """The loss and the shares of right answers above the ten templates: red speaks for a kind, blue against it."""
    figure = plt.figure(figsize=(10, 6.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.2))
    left, right = above.subplots(1, 2)
    left.plot(range(1, len(losses) + 1), losses, ".-")
    left.set(xlabel="epoch", ylabel="loss")
    for name, values in shares.items():
        right.plot(range(1, len(values) + 1), values, ".-", label=name)
    right.set(xlabel="epoch", ylabel="right answers")
    right.legend()
    limit = weight.abs().max().item()
    for place, template, name in zip(below.subplots(2, 5).flat, weight.T.reshape(10, 28, 28), classes):
        place.imshow(template.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
        place.set_title(name, fontsize=9)
        place.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, tests and draws; returns the share of test images that were told correctly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="times that every image is seen (default 10)")
    parser.add_argument("--quick", action="store_true", help="2,000 images, drawn ones if need be")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order; the same seed gives the same result")
    parser.add_argument("--data", default="data", metavar="FOLDER", help="where Fashion-MNIST is, or is downloaded to (data)")
    parser.add_argument("--picture", default="softmax.png", metavar="FILE", help="the picture (default softmax.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    parts = fashion_mnist(options.data, options.quick)
    (images, targets), (test_images, test_targets) = (flatten(part, options.device) for part in parts)
    weight = (0.01 * torch.randn(784, 10)).to(options.device).requires_grad_()
    bias = torch.zeros(10, device=options.device, requires_grad=True)
    losses, shares = [], {"train": [], "test": []}
    for loss in train(images, targets, weight, bias, options.epochs, rate=0.1):
        losses.append(loss)
        shares["train"].append(accuracy(images, targets, weight, bias))
        shares["test"].append(accuracy(test_images, test_targets, weight, bias))
    draw(options.picture, losses, shares, weight.detach().cpu(), parts[0].classes)
    print(f"{type(parts[0]).__name__}: loss {losses[-1]:.4f}; {shares['train'][-1]:.1%} of {len(images)} training images and "
          f"{shares['test'][-1]:.1%} of {len(test_images)} test images told correctly; see {options.picture}")
    return shares["test"][-1]


if __name__ == "__main__":
    main()
