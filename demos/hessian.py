"""Second derivatives: Newton's method against gradient descent in a bent valley, and the curvature of a small network's loss.

    python demos/hessian.py [--epochs 1500] [--quick] [--device cpu] [--seed 0] [--picture hessian.png]

Rosenbrock's valley (1 - x)^2 + 100 (y - x^2)^2 is flat along its floor and steep across it. Gradient descent must take steps
that suit the steep direction, and creeps along the other; Newton's method asks autograd.functional for the Hessian too, and is
there in a few steps. A network's loss is such a valley in many dimensions: the eigenvalues of its Hessian say so. The largest
one, beyond 2 divided by which gradient descent's steps diverge, is found again without the matrix, by products with it (hvp).
"""
import argparse

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.autograd.functional import hessian, hvp, jacobian
from numtorch.nn import functional as F
from numtorch.nn.utils import parameters_to_vector

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402


def rosenbrock(point):
    """The valley's height at ``point`` (2,); 0 at its lowest point, (1, 1). H. H. Rosenbrock, Computer Journal 3, 1960."""
    x, y = point
    return (1 - x) ** 2 + 100 * (y - x ** 2) ** 2


def newton(function, start, steps):
    """Newton's method: each step goes to the lowest point of the parabola that fits best; returns all points, (n, 2)."""
    path = [start]
    while len(path) <= steps and jacobian(function, path[-1]).norm() > 1e-10:
        path.append(path[-1] - torch.linalg.solve(hessian(function, path[-1]), jacobian(function, path[-1])))
    return torch.stack(path)


def descend(function, start, rate, steps):
    """Gradient descent with a fixed rate; returns all points, (n, 2)."""
    point, path = start.clone().requires_grad_(), [start]
    optimizer = torch.optim.SGD([point], lr=rate)
    for _ in tqdm(range(steps), desc="valley", unit="step"):
        optimizer.zero_grad()
        function(point).backward()
        optimizer.step()
        path.append(point.detach().clone())
    return torch.stack(path)


def network(widths, x, y):
    """A network's loss as a function of one vector with all its parameters, which is what hessian() wants, and such a vector."""
    layers = nn.Sequential(*(nn.Linear(*pair) for pair in zip(widths, widths[1:]))).to(x)     # for their shapes and their start
    shapes = [parameter.shape for parameter in layers.parameters()]

    def loss(vector):
        parts = [part.view(shape) for part, shape in zip(vector.split([shape.numel() for shape in shapes]), shapes)]
        values = F.linear(x, *parts[:2])
        for weight, bias in zip(parts[2::2], parts[3::2]):
            values = F.linear(torch.tanh(values), weight, bias)
        return F.mse_loss(values, y)

    return loss, parameters_to_vector(layers.parameters()).detach()


def train(loss, vector, epochs):
    """Adam on all points at once; returns the trained vector."""
    vector = nn.Parameter(vector.clone())
    optimizer = torch.optim.Adam([vector], lr=0.01)
    for _ in tqdm(range(epochs), desc="network", unit="epoch"):
        optimizer.zero_grad()
        loss(vector).backward()
        optimizer.step()
    return vector.detach()


def sharpest(loss, vector, rounds=100):
    """The Hessian's largest eigenvalue by power iteration: products with a vector, so the matrix is never there."""
    direction = torch.randn_like(vector)
    for _ in range(rounds):
        direction = direction / direction.norm()
        _, product = hvp(loss, vector, direction)
        value, direction = direction @ product, product
    return value.item()


def draw(path, fast, slow, spectra):
    """Both ways through the valley, the heights on them, and the Hessian's eigenvalues before and after training."""
    figure, (valley, heights, values) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    x, y = torch.meshgrid(torch.linspace(-1.7, 1.7, 120), torch.linspace(-3.5, 2.2, 120), indexing="ij")
    valley.contourf(x.numpy(), y.numpy(), rosenbrock((x, y)).log1p().numpy(), levels=25, cmap="Blues")
    for steps, style, name in ((slow, "r-", "gradient descent"), (fast, "ko-", "Newton")):
        label = f"{name}: {len(steps) - 1} steps"
        valley.plot(steps[:, 0].cpu().numpy(), steps[:, 1].cpu().numpy(), style, markersize=4, label=label)
        heights.plot([rosenbrock(point).item() + 1e-30 for point in steps], style, markersize=4)
    valley.plot(1, 1, "w*", markersize=12)
    valley.set(xlabel="x", ylabel="y", title="Rosenbrock's valley")
    valley.legend(loc="upper center", fontsize=8)
    heights.set_xscale("symlog", linthresh=10)
    heights.set_yscale("log")
    heights.set(xlabel="step", ylabel="height above the lowest point", title="Newton's digits double at every step")
    for name, spectrum in spectra.items():
        values.plot(spectrum.flip(0).cpu().numpy(), ".-", label=name)
    values.set_yscale("symlog", linthresh=1e-3)
    values.set(xlabel="number", ylabel="eigenvalue", title="the Hessian of a network's loss")
    values.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Walks, trains, looks at the curvature and draws; returns how far from the lowest point Newton's method ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=1500, help="of the network's training (default 1500)")
    parser.add_argument("--quick", action="store_true", help="300 epochs, 1,000 steps of gradient descent")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of the network's weights")
    parser.add_argument("--picture", default="hessian.png", metavar="FILE", help="the picture (default hessian.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    exact = dict(dtype=torch.float64, device=options.device)
    start, lowest = torch.tensor([-1.2, 1.0], **exact), torch.ones(2, **exact)
    fast = newton(rosenbrock, start, 50)
    slow = descend(rosenbrock, start, 0.001, 1000 if options.quick else 10000)
    far, farther = ((steps[-1] - lowest).norm().item() for steps in (fast, slow))

    x = torch.linspace(-3, 3, 64, **exact).unsqueeze(1)
    loss, vector = network((1, 6, 6, 1), x, x.sin())
    spectra = {"before training": torch.linalg.eigvalsh(hessian(loss, vector))}
    vector = train(loss, vector, 300 if options.quick else options.epochs)
    spectra["after training"] = spectrum = torch.linalg.eigvalsh(hessian(loss, vector))
    draw(options.picture, fast, slow, spectra)
    largest = spectrum[-1].item()
    print(f"Newton: {len(fast) - 1} steps, {far:.1e} from the lowest point; gradient descent: {len(slow) - 1} steps, "
          f"{farther:.1e}")
    print(f"network: loss {loss(vector).item():.1e}; {len(spectrum)} eigenvalues from {spectrum[0].item():.1e} to {largest:.6f}, "
          f"the largest by hvp {sharpest(loss, vector):.6f}, so steps up to {2 / largest:.2f} are stable; see {options.picture}")
    return far


if __name__ == "__main__":
    main()
