"""LeNet learns to read handwritten digits: 1,442 images to learn from, 355 to be tested on, a few seconds on two cores.

    python demos/lenet_digits.py [--epochs 15] [--quick] [--device cpu] [--seed 0] [--picture digits.png]

The network is that of Y. LeCun et al., "Gradient-based learning applied to document recognition" (1998), with today's
rectifiers and max pooling. It wants 32 x 32 pixels; the digits have 8 x 8 and are enlarged. At the end there is a picture of
the loss and of held-out digits with what the network takes them for.
"""
import argparse
import time

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader
from numtorch.vision.datasets import Digits

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402


class LeNet(nn.Module):
    """Two convolutions that halve the image, three linear layers: 61,706 parameters for images (n, 1, 32, 32)."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),         # 32 -> 28 -> 14
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))        # 14 -> 10 -> 5
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))

    def forward(self, images):
        return self.classifier(self.features(images))


def enlarge(images):
    """8 x 8 pixels become 32 x 32."""
    return F.interpolate(images, size=32, mode="bilinear", align_corners=False)


def jiggle(images):
    """Moves a batch by up to two pixels, so that the network does not learn places by heart."""
    down, right = torch.randint(-2, 3, (2,)).tolist()
    return torch.roll(images, (down, right), dims=(2, 3))


def train(net, digits, epochs, device):
    """Stochastic gradient descent with momentum, its step warming up and cooling down; returns the loss of every step."""
    loader = DataLoader(digits, batch_size=32, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=epochs * len(loader))
    losses = []
    with tqdm(total=epochs * len(loader), unit="step") as progress:
        for epoch in range(epochs):
            for images, targets in loader:
                images, targets = jiggle(enlarge(images.to(device))), targets.to(device)
                loss = F.cross_entropy(net(images), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                progress.update()
            progress.set_description(f"epoch {epoch + 1}/{epochs}, loss {sum(losses[-len(loader):]) / len(loader):.4f}")
    return losses


def predict(net, digits, device):
    """What the network takes each image of ``digits`` for."""
    images = torch.stack([image for image, target in digits])
    net.eval()
    with torch.no_grad():
        return net(enlarge(images.to(device))).argmax(1).cpu()


def draw(path, losses, digits, predicted):
    """The loss of each step above 24 held-out digits: up to 8 that were taken for another, in red, then others."""
    wrong = (predicted != digits.targets).nonzero().flatten().tolist()
    shown = (wrong[:8] + [i for i in range(len(digits)) if i not in wrong])[:24]
    figure = plt.figure(figsize=(9, 6.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    axes = above.subplots()
    axes.semilogy(losses, linewidth=0.7)
    axes.set(xlabel="step", ylabel="loss", title=f"LeNet on handwritten digits: {len(wrong)} of {len(digits)} misread")
    for i, place in zip(shown, below.subplots(3, 8).flat):
        place.imshow(digits.data[i].numpy(), cmap="gray_r")
        place.set_title(f"{predicted[i].item()}", color="red" if i in wrong else "black", fontsize=10)
        place.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, tests and draws; returns the share of held-out digits that were read correctly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15, help="times that every image is seen (default 15)")
    parser.add_argument("--quick", action="store_true", help="five epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order; the same seed gives the same result")
    parser.add_argument("--picture", default="digits.png", metavar="FILE", help="the picture (default digits.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    net = LeNet().to(device)
    start = time.perf_counter()
    losses = train(net, Digits(train=True), 5 if options.quick else options.epochs, device)
    seconds = time.perf_counter() - start
    held_out = Digits(train=False)
    predicted = predict(net, held_out, device)
    right = (predicted == held_out.targets).float().mean().item()
    draw(options.picture, losses, held_out, predicted)
    print(f"{len(losses)} steps in {seconds:.1f} s; {right:.1%} of {len(held_out)} held-out digits read correctly; "
          f"see {options.picture}")
    return right


if __name__ == "__main__":
    main()
