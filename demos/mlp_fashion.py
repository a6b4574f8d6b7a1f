"""A multilayer perceptron learns to tell clothes apart: Fashion-MNIST with nn, optim, transforms and data loaders.

    python demos/mlp_fashion.py [--epochs 10] [--quick] [--device cpu] [--seed 0] [--workers 0] [--data data]
                                [--picture mlp.png]

Where softmax regression (softmax_regression.py) has one template a kind, a hidden layer of 256 units makes its own features of
the image, and dropout keeps it from learning single images by heart. At the end there is a picture of the loss, of what is
taken for what, and of mistakes. --quick learns from drawn clothes unless the folder --data has Fashion-MNIST.
"""
import argparse

import matplotlib
from _images import fashion_mnist, predict, show
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.utils.data import DataLoader
from numtorch.vision import transforms

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402


def perceptron():
    """784 pixels, 256 hidden units, 10 scores: 203,530 parameters for images (n, 1, 28, 28)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))


def train(net, loader, test_loader, epochs, device):
    """Adam; yields the training loss and the test loss of each epoch."""
    loss_of, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr=0.002)
    with tqdm(total=epochs * len(loader), unit="step") as progress:
        for epoch in range(epochs):
            total = 0.0
            for images, targets in loader:
                loss = loss_of(net(images.to(device)), targets.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() / len(loader)
                progress.update()
            test = mean_loss(net, test_loader, loss_of, device)
            progress.set_description(f"epoch {epoch + 1}/{epochs}, loss {total:.4f}, test loss {test:.4f}")
            yield total, test


def mean_loss(net, loader, loss_of, device):
    """The loss over all images of ``loader``, without dropout."""
    net.eval()
    with torch.no_grad():
        total = sum(loss_of(net(images.to(device)), targets.to(device)).item() * len(images) for images, targets in loader)
    net.train()
    return total / len(loader.dataset)


def confusion(targets, predicted, kinds):
    """How many images of each kind (rows) were taken for each (columns): int64 (kinds, kinds)."""
    return torch.bincount(targets * kinds + predicted, minlength=kinds * kinds).view(kinds, kinds)


def draw(path, losses, dataset, predicted):
    """The losses and the confusion matrix above mistakes, each with what it was taken for."""
    targets, classes = torch.as_tensor(dataset.targets), dataset.classes
    figure = plt.figure(figsize=(10, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.6, 1))
    left, right = above.subplots(1, 2)
    for values, name in zip(zip(*losses), ("train", "test")):
        left.plot(range(1, len(values) + 1), values, ".-", label=name)
    left.set(xlabel="epoch", ylabel="loss")
    left.legend()
    counts = confusion(targets, predicted, len(classes))
    right.imshow(counts.numpy() ** 0.5, cmap="Blues")
    for i, row in enumerate(counts.tolist()):
        for j, count in enumerate(row):
            if count:
                right.text(j, i, count, ha="center", va="center", fontsize=7, color="white" if i == j else "black")
    right.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
    right.set_yticks(range(len(classes)), classes, fontsize=8)
    right.set(xlabel="taken for", ylabel="is")
    wrong = (predicted != targets).nonzero().flatten().tolist()[:20]
    show(below.subplots(2, 10).flat, [dataset.data[i] for i in wrong], [classes[predicted[i]] for i in wrong], range(20))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, tests and draws; returns the share of test images that were told correctly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="times that every image is seen (default 10)")
    parser.add_argument("--quick", action="store_true", help="five epochs of 2,000 images, drawn ones if need be")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order; the same seed gives the same result")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images (default 0: this one does)")
    parser.add_argument("--data", default="data", metavar="FOLDER", help="where Fashion-MNIST is, or is downloaded to (data)")
    parser.add_argument("--picture", default="mlp.png", metavar="FILE", help="the picture (default mlp.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.29,), (0.35,))])   # to mean 0, deviation 1
    dataset, test = fashion_mnist(options.data, options.quick, prepare, prepare)
    loader = DataLoader(dataset, batch_size=100, shuffle=True, num_workers=options.workers)
    test_loader = DataLoader(test, batch_size=100, num_workers=options.workers)
    net = perceptron().to(options.device)
    losses = list(train(net, loader, test_loader, 5 if options.quick else options.epochs, options.device))
    predicted = predict(net, test_loader, options.device)
    right = (predicted == torch.as_tensor(test.targets)).float().mean().item()
    draw(options.picture, losses, test, predicted)
    print(f"{type(dataset).__name__}, {len(dataset)} images: loss {losses[-1][0]:.4f}; {right:.1%} of {len(test)} test images "
          f"told correctly; see {options.picture}")
    return right


if __name__ == "__main__":
    main()
