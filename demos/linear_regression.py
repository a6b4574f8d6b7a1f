"""Linear regression three ways: a line through a thousand noisy points by hand, with nn and optim, and by linear algebra.

    python demos/linear_regression.py [--epochs 5] [--quick] [--device cpu] [--seed 0] [--picture line.png]

By hand means that backward() finds the gradients and everything else is written out; nn and optim then do the same with the
same start and the same batches, so they must take the same path. Least squares says where the path should end: nearer to the
line that the points came from, the noise allows nothing. At the end there is a picture of the points and of the path.
"""
import argparse

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.utils.data import DataLoader, TensorDataset

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402

WEIGHT, BIAS, NOISE = 2.0, -1.4, 0.3        # where the points come from: y = WEIGHT x + BIAS, give or take NOISE
RATE, BATCH = 0.01, 10


def points(n, device):
    """Noisy points of the line: x (n, 1) and y (n, 1)."""
    x = torch.randn(n, 1)
    y = WEIGHT * x + BIAS + NOISE * torch.randn(n, 1)
    return x.to(device), y.to(device)


def batches(x, y, epochs, seed):
    """The points in a random order, ten at a time; the same seed gives the same order."""
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True, generator=order)
    for _ in tqdm(range(epochs), unit="epoch"):
        yield from loader


def by_hand(stream, device):
    """Stochastic gradient descent with nothing but tensors; returns weight and bias at the start and after every step."""
    weight = torch.zeros(1, 1, device=device, requires_grad=True)
    bias = torch.zeros(1, device=device, requires_grad=True)
    path = [(0.0, 0.0)]
    for x, y in stream:
        loss = ((x @ weight + bias - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():       # the step itself is not to be differentiated
            for parameter in (weight, bias):
                parameter -= RATE * parameter.grad
                parameter.grad.zero_()
        path.append((weight.item(), bias.item()))
    return torch.tensor(path)


def with_modules(stream, device):
    """The same with a layer, a loss and an optimizer."""
    net = nn.Linear(1, 1).to(device)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    loss_of, optimizer = nn.MSELoss(), torch.optim.SGD(net.parameters(), lr=RATE)
    path = [(0.0, 0.0)]
    for x, y in stream:
        optimizer.zero_grad()
        loss_of(net(x), y).backward()
        optimizer.step()
        path.append((net.weight.item(), net.bias.item()))
    return torch.tensor(path)


def least_squares(x, y):
    """The weight and the bias with the smallest squared error on these points, exactly."""
    columns = torch.cat([x, torch.ones_like(x)], dim=1)
    return torch.linalg.lstsq(columns, y).solution.flatten().cpu()


def draw(path, x, y, steps, best):
    """The points with lines on the way, beside the loss as a landscape over weight and bias with the path through it."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.scatter(x.cpu().numpy(), y.cpu().numpy(), s=3, color="lightgray")
    ends = torch.tensor([-3.0, 3.0])
    for step in (0, 30, 100, len(steps) - 1):
        left.plot(ends.numpy(), (steps[step, 0] * ends + steps[step, 1]).numpy(), label=f"step {step}")
    left.set(xlabel="x", ylabel="y", title=f"y = {steps[-1, 0].item():.3f} x {steps[-1, 1].item():+.3f}")
    left.legend()
    weights, biases = torch.meshgrid(torch.linspace(-0.5, 3, 60), torch.linspace(-2.5, 0.5, 60), indexing="ij")
    x, y = x.cpu().flatten(), y.cpu().flatten()
    loss = ((weights[..., None] * x + biases[..., None] - y) ** 2).mean(-1)
    right.contour(weights.numpy(), biases.numpy(), loss.numpy(), levels=(0.15, 0.3, 0.6, 1, 2, 3, 4, 6, 8), cmap="viridis")
    right.plot(steps[:, 0].numpy(), steps[:, 1].numpy(), "k.-", markersize=2, linewidth=0.5, label="gradient descent")
    right.plot(best[0].item(), best[1].item(), "r*", markersize=12, label="least squares")
    right.set(xlabel="weight", ylabel="bias", title="mean squared error")
    right.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Fits the line and draws it; returns how far the learnt weight and bias are from the true ones, at most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5, help="times that every point is seen (default 5)")
    parser.add_argument("--quick", action="store_true", help="three epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of points and order; the same seed gives the same result")
    parser.add_argument("--picture", default="line.png", metavar="FILE", help="the picture (default line.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    epochs = 3 if options.quick else options.epochs
    x, y = points(1000, options.device)
    steps = by_hand(batches(x, y, epochs, options.seed), options.device)
    same = with_modules(batches(x, y, epochs, options.seed), options.device)
    best = least_squares(x, y)
    draw(options.picture, x, y, steps, best)
    error = (same[-1] - torch.tensor([WEIGHT, BIAS])).abs().max().item()
    print(f"true line: {WEIGHT} x {BIAS:+}; least squares: {best[0].item():.4f} x {best[1].item():+.4f}; "
          f"gradient descent: {same[-1, 0].item():.4f} x {same[-1, 1].item():+.4f}, off by {error:.4f}; "
          f"by hand and with modules differ by {(steps - same).abs().max().item():.1e}; see {options.picture}")
    return error


if __name__ == "__main__":
    main()
