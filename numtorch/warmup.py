"""Compiles the common kernels ahead of their first use, with all cores: ``python -m numtorch warmup``.

There is no list of kernels or signatures here. Worker processes run small programs of the kind that people write, and each
kernel that a program meets is compiled, with its gradient, into the cache on disk: once as it is, which gives the serial twin,
and once with every kernel told that no input is too small for threads.
"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager

import numtorch as torch

PROGRAMS = {}       # name -> function without arguments; longest first, so that no worker is left with a long one at the end

UNARY = ("abs cos erf exp floor log log1p neg reciprocal round rsqrt sigmoid sign sin sqrt square tanh isnan isfinite "
         "logical_not nn.functional.relu nn.functional.gelu nn.functional.silu nn.functional.softplus "
         "nn.functional.leaky_relu nn.functional.elu nn.functional.logsigmoid").split()
BINARY = "add sub mul div pow maximum minimum eq ne lt le gt ge".split()


def program(fn):
    """Decorator that adds a program under its name."""
    PROGRAMS[fn.__name__] = fn
    return fn


def _learn(net, optimizer, loss, steps=2):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()


@program
def convolutional_network():
    """LeNet and a residual block with batch normalisation, trained with momentum and read out."""
    nn = torch.nn
    net = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(),
                        nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 10))
    images, targets = torch.rand(4, 3, 32, 32), torch.arange(4)
    enlarged = nn.functional.interpolate(images[:, :, :8, :8], size=32, mode="bilinear", align_corners=False)
    _learn(net, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
           lambda net: nn.functional.cross_entropy(net(images + enlarged), targets))
    net.eval()
    with torch.no_grad():
        scores = net(images)
    scores.softmax(1).max(1)
    (scores.argmax(1) == targets).float().mean().item()


@program
def transformer():
    """Embedding, layer normalisation, attention written with matmul and softmax, gelu, AdamW."""
    nn = torch.nn
    tokens = torch.randint(0, 20, (2, 6))
    net = nn.ModuleDict({"embed": nn.Embedding(20, 8), "norm": nn.LayerNorm(8), "qkv": nn.Linear(8, 24), "up": nn.Linear(8, 16),
                         "out": nn.Linear(16, 20)})
    mask = torch.tril(torch.ones(6, 6)) == 0

    def loss(net):
        x = net["norm"](net["embed"](tokens))
        q, k, v = net["qkv"](x).split(8, dim=-1)
        attention = (q @ k.transpose(-2, -1) / 8 ** 0.5).masked_fill(mask, float("-inf")).softmax(-1)
        logits = net["out"](nn.functional.gelu(net["up"](x + attention @ v)))
        return nn.functional.cross_entropy(logits.reshape(-1, 20), tokens.reshape(-1))
    _learn(net, torch.optim.AdamW(net.parameters(), lr=1e-3), loss)


@program
def recurrent_network():
    """LSTM and GRU over a short sequence, Adam, clipped gradients."""
    nn = torch.nn
    x = torch.randn(5, 2, 4)
    for kind in (nn.LSTM, nn.GRU):
        net = kind(4, 3)
        _learn(net, torch.optim.Adam(net.parameters()), lambda net: net(x)[0].pow(2).mean())
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)


@program
def regression():
    """A perceptron with tanh and sigmoid, mean squared and binary cross entropy losses."""
    nn = torch.nn
    x, y = torch.randn(8, 3), torch.rand(8, 1)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    _learn(net, optimizer, lambda net: nn.functional.mse_loss(net(x), y))
    _learn(net, optimizer, lambda net: nn.functional.binary_cross_entropy_with_logits(net(x), y))
    _learn(net, optimizer, lambda net: nn.functional.l1_loss(net(x).sigmoid(), y))


@program
def reductions():
    """Sums, means, extrema and norms over all, over rows and over columns."""
    x = torch.randn(4, 5, requires_grad=True)
    for name in ("sum", "mean", "max", "min", "prod", "std", "var", "norm", "logsumexp", "argmax", "argmin", "all", "any"):
        for dim in ((), (0,), (1,)):
            if name == "logsumexp" and not dim or name == "norm" and dim:
                continue
            found = getattr(x, name)(*dim)
            found = found[0] if isinstance(found, tuple) else found
            if found.requires_grad:
                found.sum().backward()


@program
def indexing():
    """Masks, gather and scatter, sorting, cumulative sums, joining, random numbers."""
    x = torch.randn(4, 5, requires_grad=True)
    index = torch.randint(0, 5, (4, 2))
    for y in (x[x > 0], x.gather(1, index), x[index[:, 0] % 4], x.sort(1)[0], x.topk(2)[0], x.cumsum(1),
              torch.where(x > 0, x, -x), torch.cat([x, x]), torch.stack([x, x]), x.clamp(-1, 1), x.index_select(0, index[0] % 4)):
        y.sum().backward()
    torch.zeros(4, 5).scatter_(1, index, 1.0)
    torch.randperm(10)
    torch.rand(20).bernoulli()
    torch.arange(4).float().to(torch.int64).unique()


@program
def large_arrays():
    """The loops that hand element-wise work to threads, and the conversions between common types."""
    x = torch.ones(400_000)
    (x * 2 + x).exp().clamp(0, 1)
    torch.where(x > 0, x, x * 2)
    torch.addcmul(x, x, x)
    torch.zeros(400_000).copy_(x[::1].flip(0))


def elementwise(name):
    """One element-wise op on float32 and, for the arithmetic ones, int64, with its gradient."""
    fn = torch.op.OPS[name].fn
    x = torch.tensor([0.3, 0.4, 0.5], requires_grad=True)
    y = fn(x, x.detach() + 1) if name in BINARY else fn(x)
    if y.requires_grad:
        y.sum().backward()
    if name in BINARY and name not in ("div", "pow"):
        fn(torch.tensor([1, 2, 3]), 2)


@contextmanager
def _threads_for_all():
    """While it lasts, kernels run their parallel twin on inputs of any size."""
    from .kernels._jit import KERNELS

    before = {kernel: kernel.grain for kernel in KERNELS.values() if kernel.grain is not None}
    for kernel in before:
        kernel.grain = 0
    try:
        yield
    finally:
        for kernel, grain in before.items():
            kernel.grain = grain


def compile_for(name):
    """Runs one program, by its name, with serial and then with parallel kernels."""
    def work():
        return PROGRAMS[name]() if name in PROGRAMS else elementwise(name)
    work()
    with _threads_for_all():
        work()


def _quiet():
    from .kernels import _jit

    _jit._notice.said = True        # the progress bar says it already


def run(jobs=None, names=None):
    """Runs the programs in worker processes and shows progress; returns 0, or 1 if one of them failed.

    Args:
        jobs (int): the number of processes; default the cores.
        names (list of str): some of the programs and element-wise ops; default all.
    """
    from tqdm import tqdm

    from .kernels import _cache, _jit

    names = [*PROGRAMS, *BINARY, *UNARY] if names is None else names
    failed = []
    with (ProcessPoolExecutor(jobs or _jit.get_num_threads(), multiprocessing.get_context("spawn"), _quiet) as pool,
          tqdm(total=len(names), unit="program", desc="compiling") as progress):
        waiting = {pool.submit(compile_for, name): name for name in names}
        for done in as_completed(waiting):
            if done.exception() is not None:
                failed.append(waiting[done])
                progress.write(f"{waiting[done]}: {type(done.exception()).__name__}: {done.exception()}")
            progress.update()
    print(f"{len(names) - len(failed)} of {len(names)} programs compiled; their kernels are cached in {_cache.root()}")
    return 1 if failed else 0
