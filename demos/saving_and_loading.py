"""Saving and loading: a training run is interrupted, goes on from its file, and ends with the very same numbers.

    python demos/saving_and_loading.py [--epochs 12] [--quick] [--device cpu] [--seed 0] [--folder FOLDER] [--picture resumed.png]

The weights are not enough for that: the optimizer has its momentum, the schedule its place, the random generator its state,
from which dropout and the order of the images come. All of it is one dict in one file, saved after each epoch. Then files are
looked at more closely: tensors that share memory share it again when loaded, a whole module can be kept, though only who trusts
the file should load it, and a save that fails leaves the old file as it was. --folder keeps the files.
"""
import argparse
import pickle
import tempfile
from pathlib import Path

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.utils.data import DataLoader
from numtorch.vision.datasets import Digits

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402


class Reader(nn.Module):
    """Reads digits (n, 1, 8, 8); with batch statistics and dropout, so that it has buffers and needs random numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3),
                                    nn.Linear(64, 10))

    def forward(self, images):
        return self.layers(images)


class Run:
    """All that a training run consists of."""

    def __init__(self, steps, device):
        self.device, self.epoch, self.losses = device, 0, []
        self.net = Reader().to(device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=0.1, total_steps=steps)

    def state_dict(self):
        """Everything that changes in training."""
        return {"epoch": self.epoch, "losses": self.losses, "random": torch.get_rng_state(), "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state):
        """Goes back to where ``state`` was saved."""
        self.epoch, self.losses = state["epoch"], state["losses"]
        torch.set_rng_state(state["random"])
        for name in ("net", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])


def train(run, loader, epochs, file, interrupt=None):
    """Trains to the end and saves after each epoch; ``interrupt`` is the step at which somebody presses Ctrl-C."""
    with tqdm(total=epochs, initial=run.epoch, unit="epoch") as progress:
        while run.epoch < epochs:
            for images, targets in loader:
                if len(run.losses) == interrupt:
                    raise KeyboardInterrupt
                loss = nn.functional.cross_entropy(run.net(images.to(run.device)), targets.to(run.device))
                run.optimizer.zero_grad()
                loss.backward()
                run.optimizer.step()
                run.schedule.step()
                run.losses.append(loss.item())
            run.epoch += 1
            torch.save(run.state_dict(), file)
            progress.update()


def interrupted_and_resumed(seed, steps, loader, epochs, file, device):
    """Trains with an interruption in the middle of an epoch; returns the losses that were lost and the run that was resumed."""
    torch.manual_seed(seed)
    run = Run(steps, device)
    try:
        train(run, loader, epochs, file, interrupt=steps // 2 + len(loader) // 2)
    except KeyboardInterrupt:
        lost = run.losses
    torch.manual_seed(seed + 1)     # another process would not be in the same random state, nor have the same weights
    resumed = Run(steps, device)
    resumed.load_state_dict(torch.load(file, map_location=device))
    train(resumed, loader, epochs, file)
    return lost, resumed


def look_at_files(folder, net):
    """Prints what else a file keeps, and what it refuses."""
    shared, whole, image = folder / "shared.pt", folder / "whole.pt", torch.rand(1, 1, 8, 8)
    table = torch.zeros(1000, 100)
    torch.save({"table": table, "row": table[7]}, shared)
    loaded = torch.load(shared)
    loaded["row"] += 1      # and so are the table's own numbers
    print(f"a table of {table.nbytes:,} bytes and its row took {shared.stat().st_size:,} bytes; adding 1 to the loaded row made "
          f"the table's sum {loaded['table'].sum().item():.0f}")

    net = net.cpu().eval()
    torch.save(net, whole)
    try:
        torch.load(whole)
    except pickle.UnpicklingError:
        copy = torch.load(whole, weights_only=False)
        same = torch.equal(copy(image), net(image))
        print(f"a whole {type(copy).__name__} is loaded with weights_only=False alone; same scores: {same}")

    before = whole.read_bytes()
    try:
        torch.save({"net": net, "numbers": (i for i in range(3))}, whole)     # a generator cannot be saved
    except TypeError as error:
        left = ", ".join(sorted(file.name for file in folder.iterdir()))
        print(f"a save that fails ({error}) leaves the old file: {whole.read_bytes() == before}; files: {left}")


def draw(path, whole, lost, resumed, start):
    """The losses of the run in one go, of the one that was interrupted, and of its second half."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.semilogy(whole, color="lightgray", linewidth=6, label="in one go")
    axes.semilogy(lost, "r-", linewidth=1, label="interrupted")
    axes.semilogy(range(start, len(resumed)), resumed[start:], "k-", linewidth=0.7, label="resumed from the last whole epoch")
    axes.axvline(len(lost), color="red", linestyle=":")
    axes.set(xlabel="step", ylabel="loss", title="an interruption that leaves no trace")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains in one go and with an interruption; returns the largest difference of the losses and the final weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12, help="times that every image is seen (default 12)")
    parser.add_argument("--quick", action="store_true", help="four epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout")
    parser.add_argument("--folder", metavar="FOLDER", help="where to leave the files (default: they are removed)")
    parser.add_argument("--picture", default="resumed.png", metavar="FILE", help="the picture (default resumed.png)")
    options = parser.parse_args(argv)

    epochs = 4 if options.quick else options.epochs
    if epochs < 2:
        parser.error(f"--epochs must be 2 or more, not {epochs}: the interruption comes after half of them")
    loader = DataLoader(Digits(train=True), batch_size=32, shuffle=True, drop_last=True)
    steps = epochs * len(loader)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        whole = Run(steps, options.device)
        train(whole, loader, epochs, folder / "in_one_go.pt")
        lost, resumed = interrupted_and_resumed(options.seed, steps, loader, epochs, folder / "interrupted.pt", options.device)
        differences = [abs(a - b) for a, b in zip(whole.losses, resumed.losses, strict=True)]
        states = zip(whole.net.state_dict().values(), resumed.net.state_dict().values())
        differences += [(a - b).abs().max().item() for a, b in states]
        draw(options.picture, whole.losses, lost, resumed.losses, len(lost) // len(loader) * len(loader))
        look_at_files(folder, resumed.net)
    print(f"interrupted at step {len(lost)} of {steps} and resumed: last loss {resumed.losses[-1]:.6f}, in one go "
          f"{whole.losses[-1]:.6f}; losses and weights differ by {max(differences)} at most; see {options.picture}")
    return max(differences)


if __name__ == "__main__":
    main()
