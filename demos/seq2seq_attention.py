"""A network translates dates from words to figures and shows where it looks: "1 april 1989" from "the first of april ...".

    python demos/seq2seq_attention.py [--epochs 6] [--quick] [--device cpu] [--seed 0] [--picture attention.png]

One GRU reads the words from both ends, another writes the ten characters of "1989-04-01" one by one (I. Sutskever et al.,
"Sequence to Sequence Learning with Neural Networks", 2014). Before it writes each it looks back at all the words, and how much
at which is learnt: attention, here with the product of M.-T. Luong et al., "Effective Approaches to Attention-based Neural
Machine Translation" (2015). Nobody tells it which word makes which figure; the picture at the end shows that it found out.
"""
import argparse
import datetime
import random

import matplotlib
from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader

matplotlib.use("Agg")       # a file is drawn, no window
from matplotlib import pyplot as plt  # noqa: E402

MONTHS = "january february march april may june july august september october november december".split()
SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBERS = SMALL + ["eighteen", "nineteen"] + [f"{ten} {one}".removesuffix(" zero") for ten in TENS for one in SMALL[:10]]
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
            "twelve": "twelfth", "twenty": "twentieth", "thirty": "thirtieth"}
ISO = "0123456789-"
START = len(ISO)        # what the decoder reads before it has written anything


def in_words(date, chance):
    """One of the many ways to say a date of the years 1901 to 1999, as a list of words."""
    *before, last = NUMBERS[date.day].split()
    day, month, year = [*before, ORDINALS.get(last, last + "th")], MONTHS[date.month - 1], date.year - 1900
    between = ["oh"] if year < 10 else ["hundred", "and"] if chance.random() < 0.2 else []
    said = ["nineteen", *between, *NUMBERS[year].split()]
    weekday = [date.strftime("%A").lower()] if chance.random() < 0.3 else []
    return chance.choice((
        [*weekday, "the", *day, "of", month, *said], [*weekday, month, "the", *day, *said], [*weekday, month, *day, *said],
        ["in", "the", "year", *said, "on", "the", *day, "of", month], ["on", "the", *day, "day", "of", month, *said]))


class Translator(nn.Module):
    """Encoder, decoder and attention: from ``words`` numbered words, of which 0 fills up, to characters of ISO."""

    def __init__(self, words, hidden=64):
        super().__init__()
        self.words = nn.Embedding(words, 32, padding_idx=0)
        self.encoder = nn.GRU(32, hidden, batch_first=True, bidirectional=True)
        self.characters = nn.Embedding(len(ISO) + 1, 16)
        self.decoder = nn.GRU(16, hidden, batch_first=True)
        self.match = nn.Linear(hidden, 2 * hidden, bias=False)
        self.combine = nn.Linear(3 * hidden, hidden)
        self.scores = nn.Linear(hidden, len(ISO))

    def encode(self, text):
        """What was read at every word of ``text`` (n, t), as (n, t, 2 hidden), and the state when all was read from the end."""
        lengths = (text != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.words(text), lengths, batch_first=True, enforce_sorted=False)
        read, last = self.encoder(packed)
        return nn.utils.rnn.pad_packed_sequence(read, batch_first=True, total_length=text.shape[1])[0], last[1:]

    def decode(self, written, state, read, blank):
        """Scores (n, s, 11) of each character after ``written`` (n, s), the state, and how much (n, s, t) each looks where."""
        hidden, state = self.decoder(self.characters(written), state)
        looks = (self.match(hidden) @ read.transpose(1, 2)).masked_fill(blank, float("-inf")).softmax(2)
        seen = torch.tanh(self.combine(torch.cat([hidden, looks @ read], 2)))
        return self.scores(seen), state, looks

    def forward(self, text, target):
        """Scores of all characters of ``target`` (n, 10), each after the right ones before it."""
        read, state = self.encode(text)
        written = F.pad(target[:, :-1], (1, 0), value=START)
        return self.decode(written, state, read, (text == 0).unsqueeze(1))[0]

    @torch.no_grad()
    def translate(self, text):
        """The characters (n, 10) that it writes by itself for ``text`` (n, t), and where (n, 10, t) it looks for each."""
        read, state = self.encode(text)
        written, looks = [torch.full((len(text), 1), START, device=text.device)], []
        for _ in range(10):
            scores, state, look = self.decode(written[-1], state, read, (text == 0).unsqueeze(1))
            written.append(scores.argmax(2))
            looks.append(look)
        return torch.cat(written[1:], 1), torch.cat(looks, 1)


def train(net, loader, epochs, device):
    """Adam; the loss is shown as it falls."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=epochs * len(loader))
    with tqdm(total=epochs * len(loader), unit="step") as progress:
        for _ in range(epochs):
            for text, target in loader:
                loss = F.cross_entropy(net(text.to(device), target.to(device)).flatten(0, 1), target.to(device).flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                progress.update()
            progress.set_description(f"loss {loss.item():.4f}")


def draw(path, shown):
    """For some dates the words across, the characters that were written down, and how much was looked where."""
    figure, places = plt.subplots(1, len(shown), figsize=(4.2 * len(shown), 4.6), layout="constrained")
    for place, (words, written, looks) in zip(places, shown):
        place.imshow(looks[:, :len(words)].numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
        place.set_xticks(range(len(words)), words, rotation=60, ha="right", rotation_mode="anchor")
        place.set_yticks(range(10), written, family="monospace")
    figure.suptitle("The date is written from top to bottom; dark is where the network looks")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Trains, translates and draws; returns the share of dates never seen that are translated without any fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6, help="times that every date is seen (default 6)")
    parser.add_argument("--quick", action="store_true", help="three epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of dates, weights and order; the same seed gives the same result")
    parser.add_argument("--picture", default="attention.png", metavar="FILE", help="the picture (default attention.png)")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    device, chance = torch.device(options.device), random.Random(options.seed)
    days = chance.sample(range(datetime.date(1901, 1, 1).toordinal(), datetime.date(2000, 1, 1).toordinal()), 6000)
    pairs = [(in_words(day, chance), day.isoformat()) for day in map(datetime.date.fromordinal, days)]
    numbers = {word: i for i, word in enumerate(sorted({word for words, _ in pairs for word in words}), start=1)}
    texts = nn.utils.rnn.pad_sequence([torch.tensor([numbers[w] for w in words]) for words, _ in pairs], batch_first=True)
    targets = torch.tensor([[ISO.index(c) for c in date] for _, date in pairs])
    net = Translator(len(numbers) + 1).to(device)
    known = DataLoader(list(zip(texts[:5000], targets[:5000])), batch_size=50, shuffle=True)
    train(net, known, 3 if options.quick else options.epochs, device)

    written, looks = (t.cpu() for t in net.translate(texts[5000:].to(device)))
    right = (written == targets[5000:]).all(1).float().mean().item()
    iso = ["".join(ISO[c] for c in row) for row in written.tolist()]
    for (words, date), found in list(zip(pairs[5000:], iso))[:6]:
        print(f"{' '.join(words)} -> {found}{'' if found == date else f', but it is {date}'}")
    draw(options.picture, [(pairs[5000 + i][0], iso[i], looks[i]) for i in range(3)])
    print(f"{right:.1%} of {len(written)} dates never seen translated without a fault; see {options.picture}")
    return right


if __name__ == "__main__":
    main()
