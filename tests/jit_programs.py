"""Programs that scripts can hold; ``test_jit.py`` imports them with numtorch, and with torch in the place of its name."""
# ruff: noqa: UP006, UP035, UP045, F401, I001
import math
from typing import Dict, List, NamedTuple, Optional, Tuple

import numtorch as torch
import numtorch.jit
import numtorch.nn

nn, F = torch.nn, torch.nn.functional


class Pair(NamedTuple):
    first: torch.Tensor
    second: int


X = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


def early_return(x, k: int):
    if k > 2:
        return x * 2
    if k == 1:
        return x - 1
    return -x


def return_in_loop(x, k: int):
    for i in range(10):
        x = x + i
        if i == k:
            return x
        if i > 5:
            break
    return x * 0


def nested_loops(x, k: int):
    total = 0
    for i in range(k):
        for j in range(i):
            if j == 2:
                continue
            if i * j > 6:
                break
            total += i * j
    while total > 3:
        total -= 2
        if total == 7:
            total = 1
            continue
    return x + total


def forever(x, k: int):
    s = 0
    i = 0
    while True:
        i += 1
        if i > k:
            break
        if i % 2 == 0:
            continue
        s += i
    return x * s, i


def lists(x, k: int):
    out: List[torch.Tensor] = []
    for i in range(k):
        out.append(x * i)
    out += [x, x]
    out[0] = x - 5
    last = out.pop()
    a = [1, 2, 3]
    a.append(k)
    a.sort()
    a.reverse()
    b = [v * 2 for v in a]
    return torch.stack(out + [last]), len(out), out[1:][0], out[-1], a, b, sum(a), max(a), 2 in a


def numbers(x, k: int):
    c, d = divmod(k, 3)
    y = x.sum()
    if y > 0 and k > 1 or not bool(y):
        x = x * math.pi
    r = float(y) + math.sqrt(float(k)) + math.floor(2.7)
    return (x, r, int(y), 1 < k <= 3, min(k, 2), abs(-k), c, d, k // 2, -k % 3, k / 2, int(2.7), bool(k), k ** 2, 7 // 2.0,
            y if k > 2 else -y, round(2.5))


def dicts(x, k: int):
    d: Dict[str, torch.Tensor] = {}
    d["a"] = x
    d["b"] = x + k
    e = {"n": k, "m": 2}
    total = 0
    for key, value in e.items():
        total += value + len(key)
    if "a" in d:
        x = d["a"] + d["b"]
    return x, total, list(d.keys()), len(d), e.get("n", 0), [v for v in e.values()], {q: w + 1 for q, w in e.items()}


def strings(x, k: int):
    s = "n=" + str(k) + f" {k} of {2.5}"
    t = "a-b-c".split("-")
    return s.upper(), "-".join(t), s.startswith("n"), "{} and {}".format(k, "x"), s.replace("n", "m"), len(s), "b" in s


def tuples(x, k: int):
    t = (x, k, "s")
    a, b, c = t
    first, *rest = (1, 2, 3)
    p = Pair(x + 1, k)
    u = ((x, 1), 2.5)
    return a, b, c, t[0], t[-1], p.first, p.second, u[0][1], first + rest[0]


def indexing(x, k: int):
    y = x.clone()
    y[0] = 7
    y[1, k - 1] = -1.0
    y[:, 0] += 2
    i = torch.tensor([1, 0])
    return x[0], x[:, 1:], x[..., -1], x[None], x[i], x[x > 0], x[:, i], x[1][k - 1], y, x[::2], x[-1, :2], x[:, None, i]


def shapes(x, k: int):
    n, m = x.shape
    s = x.size()
    return x.view(-1, n), x.reshape([m, n]), s[0], s[-1], x.shape[1] * k, x.dim(), x.numel(), x.expand(k, n, m), s[:-1]


def reductions(x, k: int):
    v, i = x.max(1)
    t = torch.topk(x, 2)
    s = torch.sort(x, dim=1, descending=True)
    return v, i, t.values, t[1], s.indices, x.max(), torch.max(x, -x), x.min(0).indices, x.argmax(1), torch.cat([x, x], 1)


def inner(a, b: float = 2.0, *, c: int):
    return a * b + c


def calls(x, k: int):
    return inner(x, c=k) + inner(x, 3.0, c=1) + inner(b=0.5, a=x, c=0)


def raises(x, k: int):
    if k > 100:
        raise ValueError(f"too big: {k}")
    assert x.size(0) == 2, "wrong size"
    return x


def annotated(x, k: int) -> Tuple[torch.Tensor, Optional[int]]:
    best: Optional[int] = None
    for i in range(k):
        if best is None:
            best = i
        elif i > 1:
            best = i
    empty = torch.jit.annotate(List[int], [])
    empty.append(3)
    if best is not None:
        best = best + empty[0]
    return x, best


def comments(x, k):
    # type: (Tensor, int) -> Tuple[Tensor, List[int]]
    found = torch.jit.annotate(List[int], [])
    for i in range(k):
        found.append(i)
    return x, found


def iteration(x, k: int):
    total = torch.zeros(3)
    for row in x:
        total += row
    n = 0
    for i, (a, b) in enumerate(zip([1, 2, 3], [4, 5, 6])):
        n += i * a * b
    for j in range(10, 0, -3):
        n += j
    for c in "abc":
        n += ord(c)
    for e in (1, 2.5):
        n += int(e)
    return total, n, [i for i in range(k)], [r.sum() for r in x]


def without_gradients(x, k: int):
    with torch.no_grad():
        y = x * 2
    return y + x


def in_place(x, k: int):
    y = x.clone()
    y += 1
    y *= k
    y.add_(x).relu_()
    return y


def factories(x, k: int):
    a = torch.zeros(k, 2)
    b = torch.ones([2, k], dtype=torch.int64)
    return (a, b, torch.arange(k), torch.full((2,), 1.5), torch.zeros_like(x) + torch.eye(2, 3), torch.tensor([1, k]),
            a.dtype == torch.float32, x.to(torch.float64), b.to(x.dtype))


def optionals(x, k: int, y: Optional[torch.Tensor] = None):
    if y is not None and y.size(0) > 1:
        x = x + y
    z = y if y is not None else x * k
    if y is None:
        return x - z
    return x + y.sum() + z.sum()


FUNCTIONS = [early_return, return_in_loop, nested_loops, forever, lists, numbers, dicts, strings, tuples, indexing, shapes,
             reductions, calls, raises, annotated, comments, iteration, without_gradients, in_place, factories, optionals]


class Out(NamedTuple):
    logits: torch.Tensor
    aux: Optional[torch.Tensor]


def scaled(x, scale: float):
    return x * scale


class Block(nn.Module):
    def __init__(self, c, down=None):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(c)
        self.relu = nn.ReLU()
        self.downsample = down

    def forward(self, x):
        out = self.relu(self.bn(self.conv(x)))
        if self.downsample is not None:
            x = self.downsample(x)
        return self.relu(out + x)


class Net(nn.Module):
    __constants__ = ["scale"]

    def __init__(self):
        super().__init__()
        self.scale = 0.5
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.blocks = nn.ModuleList([Block(4), Block(4, nn.Conv2d(4, 4, 1))])
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(4, 2)})
        self.count = 0
        self.table: Dict[str, int] = {"x": 1}
        self.drop = nn.Dropout(0.0)
        self.register_buffer("offset", torch.ones(3))
        self.w = nn.Parameter(torch.full((3,), 2.0))
        self.fn = F.relu

    @property
    def twice(self) -> int:
        return self.count * 2

    def pooled(self, x):
        return F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)

    def forward(self, x, aux: bool = False) -> Out:
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x) + i
        x = self.drop(scaled(self.fn(self.pooled(x)), self.scale))
        outs: List[torch.Tensor] = []
        for name, head in self.heads.items():
            y = head(x)
            if name == "a":
                y = y * self.w + self.offset
            outs.append(y)
        self.count += 1
        if self.training:
            self.offset = self.offset * 1.5
        if aux:
            return Out(outs[0], outs[1])
        return Out(outs[0], None)

    @torch.jit.export
    def stats(self, x: List[int]) -> Tuple[int, int, int]:
        return self.count + sum(x), self.twice, self.table["x"]

    @torch.jit.ignore
    def python_only(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([len(str(type(self)))])

    @torch.jit.unused
    def not_for_scripts(self, x):
        return [lambda: x for _ in x]


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(10, 4)
        self.gru = nn.GRU(4, 5, 2, batch_first=True)
        self.cell = nn.LSTMCell(5, 3)
        self.out = nn.Linear(3, 2)

    def forward(self, tokens, steps: int, state: Optional[Tuple[torch.Tensor, torch.Tensor]] = None):
        x, h = self.gru(self.emb(tokens))
        results: List[torch.Tensor] = []
        for t in range(min(steps, x.size(1))):
            state = self.cell(x[:, t], state)
            results.append(self.out(state[0]))
        return torch.stack(results, 1), h


class Legacy(torch.jit.ScriptModule):
    __constants__ = ["k"]

    def __init__(self, k):
        super().__init__()
        self.k = k
        self.w = nn.Parameter(torch.ones(2))
        self.fc = nn.Linear(2, 2)
        self.n = torch.jit.Attribute(3, int)

    @torch.jit.script_method
    def forward(self, x):
        if x.sum() > 0:
            return self.fc(x) * self.k + self.w
        return self.more(x)

    @torch.jit.script_method
    def more(self, x):
        return x - self.n
