"""A GRU learns to write, letter by letter, from the first page of "Alice's Adventures in Wonderland", in seconds on two cores.

    python demos/character_gru.py [--epochs 15] [--quick] [--device cpu] [--seed 0] [--file BOOK.txt]

The network (K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014) knows neither words nor
grammar: it reads characters and guesses the next one. It writes by drawing from its guess, reading what it drew, and so on.
Samples are shown while it learns: first letters at random, then spaces where they should be, words that sound English, and in
the end Lewis Carroll's (1865). One page is soon known by heart; give it a longer --file to have it invent.
"""
import argparse
import math
from pathlib import Path

from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader, TensorDataset

PAGE = """\
Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice she had \
peeped into the book her sister was reading, but it had no pictures or conversations in it, "and what is the use of a book," \
thought Alice, "without pictures or conversations?"
So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and stupid), whether the \
pleasure of making a daisy-chain would be worth the trouble of getting up and picking the daisies, when suddenly a White Rabbit \
with pink eyes ran close by her.
There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the Rabbit say to \
itself, "Oh dear! Oh dear! I shall be late!" (when she thought it over afterwards, it occurred to her that she ought to have \
wondered at this, but at the time it all seemed quite natural); but when the Rabbit actually took a watch out of its \
waistcoat-pocket, and looked at it, and then hurried on, Alice started to her feet, for it flashed across her mind that she had \
never before seen a rabbit with either a waistcoat-pocket, or a watch to take out of it, and burning with curiosity, she ran \
across the field after it, and fortunately was just in time to see it pop down a large rabbit-hole under the hedge.
In another moment down went Alice after it, never once considering how in the world she was to get out again.
The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that Alice had not a \
moment to think about stopping herself before she found herself falling down a very deep well.
"""
LENGTH = 64     # characters that are read in one piece in training


class Writer(nn.Module):
    """Embedding, GRU and a linear layer: from characters (n, t) to the scores of each next one (n, t, characters)."""

    def __init__(self, characters, hidden=128):
        super().__init__()
        self.embedding = nn.Embedding(characters, 32)
        self.gru = nn.GRU(32, hidden, batch_first=True)
        self.scores = nn.Linear(hidden, characters)

    def forward(self, text, state=None):
        hidden, state = self.gru(self.embedding(text), state)
        return self.scores(hidden), state

    @torch.no_grad()
    def write(self, start, length, temperature):
        """Characters (length,) that follow on ``start`` (t,); the lower the temperature, the fewer surprises."""
        scores, state = self(start.unsqueeze(0))
        written = []
        for _ in range(length):
            chance = F.softmax(scores[:, -1] / temperature, 1)
            written.append(torch.multinomial(chance, 1))
            scores, state = self(written[-1], state)
        return torch.cat(written).squeeze(1)


def train(net, text, epochs, device, show):
    """Adam on all pieces of LENGTH characters; ``show(epoch)`` is called before the first epoch and after some."""
    pieces = text.unfold(0, LENGTH + 1, 1)
    loader = DataLoader(TensorDataset(pieces), batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader), eta_min=0.0005)
    show(0)
    with tqdm(total=epochs * len(loader), unit="step") as progress:
        for epoch in range(1, epochs + 1):
            for piece, in loader:
                piece = piece.to(device)
                scores, _ = net(piece[:, :-1])
                loss = F.cross_entropy(scores.flatten(0, 1), piece[:, 1:].flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                progress.update()
            progress.set_description(f"{loss.item() / math.log(2):.2f} bits a character")
            show(epoch)


@torch.no_grad()
def bits(net, text):
    """What a character of ``text`` (t,) costs on average when the network's guesses encode it, in bits."""
    scores, _ = net(text[:-1].unsqueeze(0))
    return F.cross_entropy(scores.squeeze(0), text[1:]).item() / math.log(2)


def main(argv=None):
    """Trains and writes; returns the bits that a character of the page costs once it is learnt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15, help="times that every piece of text is read (default 15)")
    parser.add_argument("--quick", action="store_true", help="five epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and writing; the same seed gives the same result")
    parser.add_argument("--file", type=Path, help="a text to learn from instead of the page")
    options = parser.parse_args(argv)
    page = options.file.read_text() if options.file else PAGE
    if len(page) <= LENGTH:
        parser.error(f"--file {options.file} must have more than {LENGTH} characters, has {len(page)}")
    epochs = 5 if options.quick else options.epochs

    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    characters = sorted(set(page))
    text = torch.tensor([characters.index(c) for c in page])
    net = Writer(len(characters)).to(device)

    def say(length, temperature):
        return page[0] + "".join(characters[c] for c in net.write(text[:1].to(device), length, temperature).tolist())

    def show(epoch):
        if epoch in (0, 1, 2, epochs // 2):
            tqdm.write(f"after {epoch} epochs: {say(100, 0.7)!r}")

    train(net, text, epochs, device, show)
    for temperature in (0.2, 0.7, 1.2):
        print(f"\ntemperature {temperature}: {say(400, temperature)}")
    before, cost = math.log2(len(characters)), bits(net, text.to(device))
    print(f"\n{len(page)} characters cost {cost:.2f} bits each once learnt, {before:.2f} before")
    return cost


if __name__ == "__main__":
    main()
