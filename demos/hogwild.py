"""Hogwild: several processes train one network in shared memory without ever waiting for each other; seconds on two cores.

    python demos/hogwild.py [--epochs 20] [--quick] [--processes 2] [--device cpu] [--seed 0] [--picture hogwild.png]

F. Niu, B. Recht, C. Re and S. Wright, "Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent" (2011):
every process reads the parameters, computes a gradient on a few examples, and writes its step into the parameters, whatever
the others have written meanwhile. Steps are computed from parameters that are a little stale, and now and then one is lost;
stochastic gradient descent does not mind. Here a small network learns handwritten digits, first with one process, then with
the same number of steps dealt out to several, while this process looks at the parameters as they change. At the end there is
a picture of what it saw.
"""
import argparse
import time

import matplotlib
from tqdm import tqdm

import numtorch as torch
import numtorch.multiprocessing as mp
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.vision.datasets import Digits

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402

BATCH = 32      # images a step


def network():
    """Two convolutions and two linear layers, from (n, 1, 8, 8) to the scores (n, 10) of the digits."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10))


def stacked(digits):
    """All images (n, 1, 8, 8) and targets (n,) of a data set."""
    return torch.stack([image for image, _ in digits]), digits.targets


def work(rank, net, images, targets, done, steps, seed):
    """What each process runs: ``steps`` steps of stochastic gradient descent on ``net``, counted in ``done[rank]``.

    ``net``, ``images``, ``targets`` and ``done`` lie in memory that all processes share: no step is sent to anybody.
    """
    torch.set_num_threads(1)                # the other cores belong to the other processes
    torch.manual_seed(seed + 1 + rank)      # each has an order of its own
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        chosen = torch.randint(0, len(images), (BATCH,))
        loss = F.cross_entropy(net(images[chosen]), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done[rank] = step + 1


@torch.no_grad()
def accuracy(net, images, targets):
    """The share of the images that the network reads correctly, with the parameters as they are now."""
    return (net(images).argmax(1) == targets).float().mean().item()


def run(processes, steps, seed, known, held_out):
    """Has ``processes`` processes do ``steps`` steps in all on one network and watches them.

    Returns:
        A list of (seconds, accuracy on ``held_out``) since the first step; the last is that of the finished network.
    """
    torch.manual_seed(seed)                 # every run begins with the same parameters
    net = network().share_memory()
    images, targets = (t.share_memory_() for t in known)
    done = torch.zeros(processes, dtype=torch.int64).share_memory_()
    shares = -(-steps // processes)
    workers = mp.start_processes(work, (net, images, targets, done, shares, seed), processes, join=False,
                                 start_method=mp.get_start_method())
    start, seen = None, [(0, accuracy(net, *held_out))]
    with tqdm(total=processes * shares, unit="step", desc=f"{processes} process{'es' * (processes > 1)}") as progress:
        ended = False
        while not ended:
            ended = workers.join(timeout=0.1)       # raises what a worker raised
            if start is None and done.any():
                start = time.perf_counter()
            if start is not None:
                progress.update(done.sum().item() - progress.n)
                seen.append((time.perf_counter() - start, accuracy(net, *held_out)))
    return seen


def draw(path, runs):
    """Accuracy over time of each run, by its number of processes."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for processes, seen in runs.items():
        axes.plot(*zip(*seen), ".-", label=f"{processes} process{'es' * (processes > 1)}: {seen[-1][1]:.1%}")
    axes.set(xlabel="seconds", ylabel="held-out digits read correctly", ylim=(0, 1),
             title="The same number of steps by one process and by several, without locks")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains alone and together, and draws; returns the share of held-out digits read correctly after training together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20, help="times that every image is seen, by any process (default 20)")
    parser.add_argument("--quick", action="store_true", help="eight epochs")
    parser.add_argument("--processes", type=int, default=2, help="that train together (default 2)")
    parser.add_argument("--device", default="cpu", help="cpu: the parameters are shared in main memory")
    parser.add_argument("--seed", type=int, default=0, help="of the first parameters and of each process's order")
    parser.add_argument("--picture", default="hogwild.png", metavar="FILE", help="the picture (default hogwild.png)")
    options = parser.parse_args(argv)
    if options.device != "cpu":
        parser.error(f"--device {options.device}: processes share parameters in main memory, so only cpu is possible")
    if options.processes < 1:
        parser.error(f"--processes must be at least 1, got {options.processes}")

    known, held_out = stacked(Digits(train=True)), stacked(Digits(train=False))
    steps = (8 if options.quick else options.epochs) * len(known[0]) // BATCH
    runs = {n: run(n, steps, options.seed, known, held_out) for n in sorted({1, options.processes})}
    draw(options.picture, runs)
    results = (f"{seen[-1][1]:.1%} with {n} process{'es' * (n > 1)} in {seen[-1][0]:.1f} s" for n, seen in runs.items())
    print(f"{steps} steps; of {len(held_out[0])} held-out digits read correctly {', '.join(results)}; see {options.picture}")
    return runs[options.processes][-1][1]


if __name__ == "__main__":
    main()
