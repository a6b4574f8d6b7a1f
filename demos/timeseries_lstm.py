"""An LSTM reads fifty years of an airline's monthly passengers and foretells three years more, a few seconds on two cores.

    python demos/timeseries_lstm.py [--epochs 25] [--quick] [--device cpu] [--seed 0] [--picture airline.png]

The series is made up after the best known one of its kind, the passengers of G. Box and G. Jenkins, "Time Series Analysis"
(1970): growth that slackens and recovers, summers and Christmases, and chance. The network (S. Hochreiter and J. Schmidhuber,
"Long Short-Term Memory", 1997) reads the change from each month to the next, as a logarithm, and learns what comes after. For
the last three years, which it has never seen, it reads its own forecasts. They are compared with the plain rule "as in the
same month of the last year known, with that year's growth". At the end there is a picture of both.
"""
import argparse
import math

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader, TensorDataset

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402

YEARS, HELD_OUT, WINDOW = 53, 36, 48      # years in all, months at the end, months that the network reads in training


def passengers():
    """Thousands of passengers of each month, (12 * YEARS,): exp of growth, season and chance."""
    month = torch.arange(12 * YEARS)
    growth = 0.004 + 0.003 * torch.sin(2 * math.pi * month / 110)
    angle = 2 * math.pi * month / 12
    season = -0.14 * torch.cos(angle) + 0.06 * torch.cos(2 * angle) - 0.03 * torch.sin(3 * angle)
    return torch.exp(math.log(110) + growth.cumsum(0) + season + 0.02 * torch.randn(len(month)))


class Forecaster(nn.Module):
    """LSTM and a linear layer: from changes (n, months, 1) those of the following months (n, months, 1), and its state."""

    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.change = nn.Linear(hidden, 1)

    def forward(self, changes, state=None):
        hidden, state = self.lstm(changes, state)
        return self.change(hidden), state

    @torch.no_grad()
    def foretell(self, changes, months):
        """The next ``months`` changes after ``changes`` (m, 1), each made from the one before; (months, 1)."""
        following, state = self(changes.unsqueeze(0))
        found = [following[:, -1:]]
        while len(found) < months:
            following, state = self(found[-1], state)
            found.append(following)
        return torch.cat(found, 1).squeeze(0)


def train(net, changes, epochs, device):
    """Adam on windows of WINDOW changes, each to be foretold from those before it; returns the loss of every step."""
    windows = changes.unfold(0, WINDOW + 1, 1).transpose(1, 2).contiguous()      # (n, WINDOW + 1, 1)
    loader = DataLoader(TensorDataset(windows), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses = []
    progress = tqdm(range(epochs), unit="epoch")
    for _ in progress:
        for window, in loader:
            window = window.to(device)
            loss = F.mse_loss(net(window[:, :-1])[0][:, 12:], window[:, 13:])      # a year is read before anything is asked
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        progress.set_description(f"loss {sum(losses[-len(loader):]) / len(loader):.4f}")
    return losses


def draw(path, series, learnt, plain, errors):
    """The last years of the series, and of the held-out months the network's forecast and the plain rule's."""
    years = 1970 + torch.arange(len(series)) / 12
    figure, (whole, end) = plt.subplots(2, 1, figsize=(9, 6.5), layout="constrained")
    whole.plot(years, series, linewidth=0.7, color="black")
    whole.axvspan(years[-HELD_OUT].item(), years[-1].item(), color="tab:orange", alpha=0.2)
    whole.set(ylabel="passengers, thousands", title="An airline (made up): the shaded years are foretold")
    end.plot(years[-3 * HELD_OUT:], series[-3 * HELD_OUT:], color="black", label="what came")
    end.plot(years[-HELD_OUT:], plain, "--", color="tab:gray", label=f"as the year before: {errors[1]:.1%} off")
    end.plot(years[-HELD_OUT:], learnt, color="tab:red", label=f"the LSTM's forecast: {errors[0]:.1%} off")
    end.set(ylabel="passengers, thousands", xlabel="year")
    end.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, foretells and draws; returns the mean of the forecasts' errors, as a share of what came."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25, help="times that every window is seen (default 25)")
    parser.add_argument("--quick", action="store_true", help="12 epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of series, weights and order; the same seed gives the same result")
    parser.add_argument("--picture", default="airline.png", metavar="FILE", help="the picture (default airline.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    series = passengers()
    known, came = series[:-HELD_OUT], series[-HELD_OUT:]
    changes = known.log().diff().unsqueeze(1)
    scale = changes.std()
    net = Forecaster().to(device)
    losses = train(net, changes / scale, 12 if options.quick else options.epochs, device)

    foretold = net.foretell((changes / scale).to(device), HELD_OUT).cpu().squeeze(1) * scale
    learnt = known[-1] * foretold.cumsum(0).exp()
    year = torch.arange(HELD_OUT) // 12 + 1
    plain = known[-12:].repeat(HELD_OUT // 12) * (known[-12:].mean() / known[-24:-12].mean()) ** year
    errors = [((forecast - came).abs() / came).mean().item() for forecast in (learnt, plain)]
    draw(options.picture, series, learnt, plain, errors)
    print(f"{len(losses)} steps; {HELD_OUT} months foretold, {errors[0]:.1%} off on average, the plain rule {errors[1]:.1%}; "
          f"see {options.picture}")
    return errors[0]


if __name__ == "__main__":
    main()
