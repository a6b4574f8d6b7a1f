"""LeNet looks at photographs: CIFAR-10, ten kinds of animals and vehicles in 32 x 32 coloured pixels.

    python demos/lenet_cifar10.py [--epochs 15] [--quick] [--device cpu] [--seed 0] [--workers 0] [--data data]
                                  [--picture cifar.png]

The network of lenet_digits.py gets three colours. Each time that an image is seen it is moved by up to two pixels and may be
mirrored: there are then more different images than the network can learn by heart. At the end there is a picture of the loss,
of the six patterns that the first layer looks for, and of test images with the three kinds that it finds most likely. --quick
learns from drawn shapes unless the folder --data has CIFAR-10.
"""
import argparse

import matplotlib
from _images import cifar10, predict, show
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader
from numtorch.vision import transforms

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402


class LeNet(nn.Module):
    """Two convolutions that halve the image, three linear layers: 62,006 parameters for images (n, 3, 32, 32)."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, images):
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)     # 32 -> 28 -> 14
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)          # 14 -> 10 -> 5
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def train(net, loader, epochs, device):
    """Adam, its step going down to nothing along a cosine; returns the loss of every step."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.002)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    losses = []
    with tqdm(total=epochs * len(loader), unit="step") as progress:
        for epoch in range(epochs):
            for images, targets in loader:
                loss = F.cross_entropy(net(images.to(device)), targets.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                progress.update()
            progress.set_description(f"epoch {epoch + 1}/{epochs}, loss {sum(losses[-len(loader):]) / len(loader):.4f}")
    return losses


def opinion(net, image, classes, device):
    """The three kinds that ``net`` finds most likely for one image, with their probabilities, a line for each."""
    with torch.no_grad():
        likely = net(image.unsqueeze(0).to(device)).softmax(1)[0].cpu().topk(3)
    return "\n".join(f"{classes[k]} {p:.0%}" for p, k in zip(likely.values.tolist(), likely.indices.tolist()))


def draw(path, losses, net, test, predicted, device):
    """The loss beside the first layer's patterns, above the first 16 test images."""
    figure = plt.figure(figsize=(10, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.6))
    left, right = above.subfigures(1, 2)
    axes = left.subplots()
    smooth = torch.tensor(losses).unfold(0, min(20, len(losses)), 1).mean(1)
    axes.plot(losses, linewidth=0.3)
    axes.plot(range(len(losses) - len(smooth), len(losses)), smooth.numpy())
    axes.set(xlabel="step", ylabel="loss")
    kernels = net.conv1.weight.detach().cpu()
    low, high = kernels.amin((1, 2, 3), keepdim=True), kernels.amax((1, 2, 3), keepdim=True)
    patterns = ((kernels - low) / (high - low)).permute(0, 2, 3, 1)
    show(right.subplots(2, 3).flat, patterns.numpy(), [f"pattern {i + 1}" for i in range(6)])
    wrong = {i for i in range(16) if predicted[i] != test.targets[i]}
    names = [opinion(net, test[i][0], test.classes, device) for i in range(16)]
    show(below.subplots(2, 8).flat, test.data[:16], names, wrong)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, tests and draws; returns the share of test images that were told correctly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15, help="times that every image is seen (default 15)")
    parser.add_argument("--quick", action="store_true", help="four epochs of 2,000 images, drawn ones if need be")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order; the same seed gives the same result")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare images (default 0: this one does)")
    parser.add_argument("--data", default="data", metavar="FOLDER", help="where CIFAR-10 is, or is downloaded to (default data)")
    parser.add_argument("--picture", default="cifar.png", metavar="FILE", help="the picture (default cifar.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    scale = [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))]
    vary = [transforms.RandomCrop(32, padding=2), transforms.RandomHorizontalFlip()]
    dataset, test = cifar10(options.data, options.quick, transforms.Compose(vary + scale), transforms.Compose(scale))
    loader = DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True, num_workers=options.workers)
    net = LeNet().to(options.device)
    losses = train(net, loader, 4 if options.quick else options.epochs, options.device)
    predicted = predict(net, DataLoader(test, batch_size=100, num_workers=options.workers), options.device)
    right = (predicted == torch.as_tensor(test.targets)).float().mean().item()
    draw(options.picture, losses, net, test, predicted, options.device)
    print(f"{type(dataset).__name__}: {len(losses)} steps; {right:.1%} of {len(test)} test images told correctly; "
          f"see {options.picture}")
    return right


if __name__ == "__main__":
    main()
