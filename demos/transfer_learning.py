"""What a network learnt from the digits 0 to 4 helps it to learn 5 to 9 from five examples each; half a minute on two cores.

    python demos/transfer_learning.py [--epochs 8] [--quick] [--device cpu] [--seed 0] [--picture transfer.png]

The digits lie anywhere in a larger picture. A small residual network (K. He et al., "Deep Residual Learning for Image
Recognition", 2016) learns 0 to 4 in four positions, upright and on their sides, as twenty classes, so that it has much to
tell apart. Then its body is frozen, and only a new last layer learns 5 to 9, which it has never seen, from a handful of
pictures. The same network from scratch has only the handful, and must find out from it what a line is and that places do not
matter. At the end there is a picture of what both make of 1 to 20 examples a class.
"""
import argparse

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.vision.datasets import Digits
from numtorch.vision.models.resnet import BasicBlock

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402

SIZE, STEPS = 12, 80        # pixels of a picture's side, of which a digit has 8; steps of learning from a few pictures


def wider(inputs, outputs):
    """A residual block that halves the picture and has more channels."""
    way_around = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride=2, downsample=way_around)


def body():
    """What makes 64 numbers of each picture (n, 1, SIZE, SIZE)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        BasicBlock(16, 16), wider(16, 32), wider(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def half(train, first):
    """Images (n, 1, 8, 8) of the digits ``first`` to ``first + 4``, and their numbers from 0 to 4."""
    digits = Digits(train=train)
    images = torch.stack([image for image, _ in digits])
    chosen = (digits.targets >= first) & (digits.targets < first + 5)
    return images[chosen], digits.targets[chosen] - first


def turned(images, targets):
    """All images in four positions; each position has classes of its own."""
    return torch.cat([torch.rot90(images, k, (2, 3)) for k in range(4)]), torch.cat([targets + 5 * k for k in range(4)])


def strewn(images):
    """Each image at a random place of an empty picture: (n, 1, SIZE, SIZE)."""
    pictures = torch.zeros(len(images), 1, SIZE, SIZE)
    for picture, image, (row, column) in zip(pictures, images, torch.randint(0, SIZE - 7, (len(images), 2)).tolist()):
        picture[:, row:row + 8, column:column + 8] = image
    return pictures


def train(net, batches, steps, device):
    """Adam on what is not frozen, for the ``steps`` pairs of pictures and targets of ``batches``; yields each loss."""
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for module in net:          # the running means of a frozen body stay as they are, too
        module.train(any(p.requires_grad for p in module.parameters()))
    for pictures, targets in batches:
        loss = F.cross_entropy(net(pictures.to(device)), targets.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item()


@torch.no_grad()
def predict(net, pictures, device):
    """What the network takes each picture for."""
    net.eval()
    return net(pictures.to(device)).argmax(1).cpu()


def pretrain(epochs, device):
    """A network that knows 0 to 4 in four positions, and the share of held-out ones that it reads correctly."""
    images, targets = turned(*half(train=True, first=0))
    net, steps = nn.Sequential(body(), nn.Linear(64, 20)).to(device), epochs * (len(images) // 50)
    choices = (torch.randint(0, len(images), (50,)) for _ in range(steps))
    batches = ((strewn(images[i]), targets[i]) for i in choices)
    for loss in (progress := tqdm(train(net, batches, steps, device), total=steps, unit="step")):
        progress.set_description(f"0 to 4 in four positions, loss {loss:.3f}")
    images, targets = turned(*half(train=False, first=0))
    return net, (predict(net, strewn(images), device) == targets).float().mean().item()


def draw(path, counts, accuracy, pictures, predicted, targets):
    """Accuracy over examples a class above; 12 held-out pictures below, with what the frozen body's last head takes them for."""
    figure = plt.figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 1))
    axes = above.subplots()
    for row, label in zip(zip(*accuracy), ("new head on the frozen body that knows 0 to 4", "everything from scratch")):
        axes.plot(counts, row, "o-", label=label)
    axes.set(xscale="log", ylim=(0, 1), xlabel="examples a class", ylabel="5 to 9 read correctly")
    axes.set_xticks(counts, counts)
    axes.minorticks_off()
    axes.legend()
    for i, place in enumerate(below.subplots(2, 6).flat):
        place.imshow(pictures[i, 0].numpy(), cmap="gray_r")
        place.set_title(f"{predicted[i] + 5}", color="black" if predicted[i] == targets[i] else "red", fontsize=10)
        place.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, transfers and draws; returns the share of held-out digits 5 to 9 read correctly after five examples of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8, help="times that 0 to 4 are seen (default 8)")
    parser.add_argument("--quick", action="store_true", help="three epochs, and only one and five examples a class")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, places and choices; the same seed, the same result")
    parser.add_argument("--picture", default="transfer.png", metavar="FILE", help="the picture (default transfer.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    net, known = pretrain(3 if options.quick else options.epochs, device)
    images, targets = half(train=True, first=5)
    held_out, right = half(train=False, first=5)
    held_out, counts, accuracy = strewn(held_out), (1, 5) if options.quick else (1, 2, 5, 10, 20), []
    shuffled = torch.randperm(len(images))
    for count in tqdm(counts, desc="5 to 9 from a few examples", unit="pair"):
        few = torch.cat([shuffled[targets[shuffled] == c][:count] for c in range(5)])
        batch = strewn(images[few]), targets[few]
        transferred = nn.Sequential(net[0].requires_grad_(False), nn.Linear(64, 5)).to(device)
        scratch = nn.Sequential(body(), nn.Linear(64, 5)).to(device)
        accuracy.append([])
        for learner in (transferred, scratch):
            list(train(learner, [batch] * STEPS, STEPS, device))
            accuracy[-1].append((predict(learner, held_out, device) == right).float().mean().item())
    draw(options.picture, counts, accuracy, held_out, predict(transferred, held_out, device), right)
    helped, alone = accuracy[counts.index(5)]
    print(f"{known:.1%} of the known, turned digits read correctly; of the new ones, from five examples each, {helped:.1%} "
          f"with the frozen body, {alone:.1%} from scratch; see {options.picture}")
    return helped


if __name__ == "__main__":
    main()
