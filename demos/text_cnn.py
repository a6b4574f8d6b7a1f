"""A convolutional network tells praise from blame in sentences on films, which counting words cannot; seconds on two cores.

    python demos/text_cnn.py [--epochs 8] [--quick] [--device cpu] [--seed 0] ["the plot was hardly ever dull" ...]

The network is that of Y. Kim, "Convolutional Neural Networks for Sentence Classification" (2014): filters slide over three,
four and five words, of each only its highest answer in the sentence is kept, and a linear layer weighs those. The sentences
come from a small grammar in which a word's worth hangs on its neighbours: "not at all dull" is praise, "never any good" is
blame. A sum over the words (P. Joulin et al., "Bag of Tricks for Efficient Text Classification", 2016) is trained beside it.
At the end the network judges some sentences, those given on the command line too, and shows the words that decided.
"""
import argparse
import random

from tqdm import tqdm

import numtorch as torch
from numtorch import nn
from numtorch.nn import functional as F
from numtorch.utils.data import DataLoader

OPENINGS = ["", "", "i saw it last week and", "in the end", "my friends tell me that", "for a first film", "to be honest",
            "on a rainy evening in march", "as everybody knows", "with all that money"]
THINGS = ["the plot", "the acting", "the music", "this film", "the second half", "the story", "her voice", "the dialogue",
          "every single scene", "the camera work", "the ending", "the whole cast", "his first role", "the script"]
VERBS = ["was", "is", "seemed", "felt", "looked", "turned out"]
DEGREES = ["", "", "", "really", "very", "so", "quite", "absolutely", "a bit too"]
NEGATIONS = ["not", "not at all", "never", "hardly", "hardly ever", "by no means", "anything but", "far from", "not in the least"]
GOOD = ["good", "great", "funny", "clever", "moving", "beautiful", "brilliant", "charming", "gripping", "warm", "fresh", "superb"]
BAD = ["bad", "dull", "awful", "boring", "silly", "weak", "clumsy", "tedious", "dreadful", "flat", "stale", "empty"]
MORE = ["and", "and what is more", "just as", "besides"]
SHOWN = ["the plot was not at all dull", "her voice seemed absolutely brilliant", "the ending was anything but clever and stale",
         "in the end this film is hardly ever funny", "not in the least boring and really charming"]
PAD, UNKNOWN = 0, 1     # words of these numbers: what fills a sentence up to five words, and any that was never seen


def clause(praise, chance):
    """Words that say ``praise`` (bool) about one thing, straight or by denying the contrary."""
    denied = chance.random() < 0.5
    word = chance.choice(GOOD if praise != denied else BAD)
    return [chance.choice(THINGS), chance.choice(VERBS), chance.choice(NEGATIONS if denied else DEGREES), word]


def sentences(count, chance):
    """``count`` pairs of a sentence of one or two clauses, and 1 for praise or 0 for blame."""
    found = []
    for i in range(count):
        parts = [chance.choice(OPENINGS), *clause(i % 2 == 1, chance)]
        if chance.random() < 0.4:
            parts += [chance.choice(MORE), *clause(i % 2 == 1, chance)]
        found.append((" ".join(" ".join(parts).split()), i % 2))
    return found


class TextCNN(nn.Module):
    """From words (n, t) as numbers, t >= 5, to the scores (n, 2) of blame and praise."""

    def __init__(self, words, channels=32, widths=(3, 4, 5), size=32):
        super().__init__()
        self.embedding = nn.Embedding(words, size, padding_idx=PAD)
        self.convolutions = nn.ModuleList([nn.Conv1d(size, channels, width) for width in widths])
        self.dropout = nn.Dropout(0.5)
        self.scores = nn.Linear(channels * len(widths), 2)

    def highest(self, text):
        """For each width the highest answer of every filter and its place in the sentence, both (n, channels)."""
        embedded = self.embedding(text).transpose(1, 2)
        return [F.relu(convolution(embedded)).max(dim=2) for convolution in self.convolutions]

    def forward(self, text):
        return self.scores(self.dropout(torch.cat([value for value, _ in self.highest(text)], 1)))

    @torch.no_grad()
    def reason(self, text):
        """Praise (bool) and the (first, last) of the words of one sentence (t,) that weighed most for the verdict."""
        highest = self.highest(text.unsqueeze(0))
        values = torch.cat([value for value, _ in highest], 1)
        verdict = self.scores(values).argmax().item()
        weights = self.scores.weight[verdict] - self.scores.weight[1 - verdict]
        best = (values * weights).argmax().item()
        convolution, (_, places) = [(c, h) for c, h in zip(self.convolutions, highest) for _ in range(c.out_channels)][best]
        first = places[0, best % convolution.out_channels].item()
        return verdict == 1, (first, first + convolution.kernel_size[0])


def encode(words, sentence):
    """A sentence as the numbers of its words, at least five."""
    numbers = [words.get(word, UNKNOWN) for word in sentence.split()]
    return torch.tensor(numbers + [PAD] * (5 - len(numbers)))


def batches(pairs, words, shuffle):
    """Batches of sentences (n, t), filled up to the longest one's length, and their labels (n,)."""
    def join(batch):
        texts, labels = zip(*batch)
        return nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD), torch.tensor(labels)

    return DataLoader([(encode(words, s), label) for s, label in pairs], batch_size=50, shuffle=shuffle, collate_fn=join)


def learn(name, net, train, test, epochs, device):
    """Adam; returns the share of the sentences of ``test`` that are judged correctly in the end."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    with tqdm(total=epochs * len(train), unit="step", desc=name) as progress:
        for _ in range(epochs):
            net.train()
            for text, labels in train:
                loss = F.cross_entropy(net(text.to(device)), labels.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                progress.update()
            progress.set_description(f"{name}, loss {loss.item():.4f}")
    net.eval()
    with torch.no_grad():
        right = sum((net(text.to(device)).argmax(1).cpu() == labels).sum().item() for text, labels in test)
    return right / len(test.dataset)


def main(argv=None):
    """Trains both, judges and shows why; returns the share of new sentences that the convolutional network judges correctly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sentence", nargs="*", help="to be judged as well")
    parser.add_argument("--epochs", type=int, default=8, help="times that every sentence is seen (default 8)")
    parser.add_argument("--quick", action="store_true", help="three epochs")
    parser.add_argument("--device", default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of sentences, weights and order; the same seed, the same result")
    options = parser.parse_args(argv)

    torch.manual_seed(options.seed)
    chance, device = random.Random(options.seed), torch.device(options.device)
    known = sentences(3000, chance)
    new = [pair for pair in sentences(1000, chance) if pair not in known]
    words = {word: i for i, word in enumerate(sorted({w for s, _ in known for w in s.split()}), start=UNKNOWN + 1)}
    train, test = batches(known, words, shuffle=True), batches(new, words, shuffle=False)
    epochs = 3 if options.quick else options.epochs
    count = UNKNOWN + 1 + len(words)
    bag = nn.Sequential(nn.EmbeddingBag(count, 32, padding_idx=PAD), nn.Linear(32, 2)).to(device)   # knows no order of words
    net = TextCNN(count).to(device)
    counted, right = (learn(*named, train, test, epochs, device) for named in (("bag of words", bag), ("convolutions", net)))
    for sentence in SHOWN + options.sentence:
        praise, (first, last) = net.reason(encode(words, sentence).to(device))
        shown = sentence.split()
        print(f"{'praise' if praise else 'blame':>6}: {' '.join([*shown[:first], '[', *shown[first:last], ']', *shown[last:]])}")
    print(f"{right:.1%} of {len(new)} new sentences judged correctly, {counted:.1%} by their words alone")
    return right


if __name__ == "__main__":
    main()
