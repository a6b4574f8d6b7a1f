"""Speed and memory beside PyTorch: ``make bench``, or ``python tests/bench.py [PATTERN] [--rounds N] [--json FILE]``.

Each line runs the same code with both libraries, in turns, in one process; speed is the median of torch's time divided by
numtorch's, so 1.00 is torch's speed and 2.00 is twice as fast. Lines marked "process" start a process for each measurement.
Nothing here passes or fails: a machine that does other things at the same time shows other figures.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

BENCHMARKS = {}     # name -> function(library) -> callable that is timed
ELEMENTS = 1_000_000


def benchmark(name):
    """Decorator that adds a function from a library to the callable that is timed."""
    def add(fn):
        BENCHMARKS[name] = fn
        return fn
    return add


# ---- overhead: tensors so small that only the way to the kernel counts --------------------------------------------------

@benchmark("add, 64 elements")
def small_add(L):
    x, y = L.ones(64), L.ones(64)
    return lambda: x + y


@benchmark("add, 64 elements, recorded")
def small_add_grad(L):
    x, y = L.ones(64, requires_grad=True), L.ones(64)
    return lambda: x + y


@benchmark("20 chained mul, 64 elements, forward and backward")
def chain(L):
    x, y = L.ones(64, requires_grad=True), L.full((64,), 1.01)
    seed = L.ones(64)

    def run():
        z = x
        for _ in range(20):
            z = z * y
        z.backward(seed)
    return run


# ---- training steps ----------------------------------------------------------------------------------------------------

def step_of(L, net, loss, x, y, lr=1e-3):
    """One step of SGD, as a program writes it."""
    optimizer = L.optim.SGD(net.parameters(), lr=lr)

    def run():
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()
    return run


def lenet(L):
    nn = L.nn
    return nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def lenet_step(L, batch):
    L.manual_seed(0)
    return step_of(L, lenet(L), L.nn.CrossEntropyLoss(), L.randn(batch, 3, 32, 32), L.randint(0, 10, (batch,)))


def mlp_step(L, batch=32):
    L.manual_seed(0)
    nn = L.nn
    net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    return step_of(L, net, nn.CrossEntropyLoss(), L.randn(batch, 784), L.randint(0, 10, (batch,)))


def regression_step(L, batch=10):
    L.manual_seed(0)
    return step_of(L, L.nn.Linear(2, 1), L.nn.MSELoss(), L.randn(batch, 2), L.randn(batch, 1))


benchmark("SGD step of LeNet 3x32x32, batch 4")(lambda L: lenet_step(L, 4))
benchmark("SGD step of LeNet 3x32x32, batch 64")(lambda L: lenet_step(L, 64))
benchmark("SGD step of MLP 784-300-100-10, batch 32")(mlp_step)
benchmark("SGD step of linear regression, batch 10")(regression_step)


# ---- large arrays ------------------------------------------------------------------------------------------------------

def large(name, call, *, low=-2.0, high=2.0):
    """Adds ``call(library, x, y)`` on two float32 matrices of 1000 x 1000."""
    def make(L):
        L.manual_seed(0)
        x, y = (L.rand(ELEMENTS) * (high - low) + low for _ in range(2))
        x, y = x.reshape(1000, 1000), y.reshape(1000, 1000)
        return lambda: call(L, x, y)
    benchmark(f"{name}, 1e6 float32")(make)


large("add", lambda L, x, y: x + y)
large("mul", lambda L, x, y: x * y)
large("exp", lambda L, x, y: x.exp())
large("relu", lambda L, x, y: L.relu(x))
large("gelu", lambda L, x, y: L.nn.functional.gelu(x))
large("sigmoid", lambda L, x, y: x.sigmoid())
large("tanh", lambda L, x, y: x.tanh())
large("sum of all", lambda L, x, y: x.sum())
large("sum of rows", lambda L, x, y: x.sum(1))
large("sum of columns", lambda L, x, y: x.sum(0))
large("mean of all", lambda L, x, y: x.mean())
large("var of rows", lambda L, x, y: x.var(1))
large("max of all", lambda L, x, y: x.max())
large("max of rows", lambda L, x, y: x.max(1))
large("max of columns", lambda L, x, y: x.max(0))
large("softmax of rows", lambda L, x, y: x.softmax(1))
large("layer_norm of rows", lambda L, x, y: L.nn.functional.layer_norm(x, (1000,)))
large("matmul 1000x1000x1000", lambda L, x, y: x @ y)


def gradient_of(name, call):
    """Adds forward and backward of ``call(library, x)`` on a float32 matrix of 1000 x 1000."""
    def make(L):
        L.manual_seed(0)
        x, g = L.randn(1000, 1000).requires_grad_(), L.randn(1000, 1000)

        def run():
            x.grad = None
            call(L, x).backward(g)
        return run
    benchmark(f"{name}, forward and backward, 1e6 float32")(make)


gradient_of("relu", lambda L, x: L.relu(x))
gradient_of("gelu", lambda L, x: L.nn.functional.gelu(x))
gradient_of("softmax of rows", lambda L, x: x.softmax(1))
gradient_of("log_softmax of rows", lambda L, x: x.log_softmax(1))
gradient_of("layer_norm of rows", lambda L, x: L.nn.functional.layer_norm(x, (1000,)))
gradient_of("batch_norm of 20 channels", lambda L, x: L.nn.functional.batch_norm(
    x.view(50, 20, 1000), None, None, training=True).view(1000, 1000))


# ---- measuring ---------------------------------------------------------------------------------------------------------

def seconds(fn, number):
    start = time.perf_counter()
    for _ in range(number):
        fn()
    return (time.perf_counter() - start) / number


def compare(make, rounds):
    """The median times of both libraries, and the median of the ratios torch / numtorch of neighbouring measurements."""
    import torch

    import numtorch

    ours, theirs = make(numtorch), make(torch)
    for fn in (ours, theirs):
        for _ in range(3):
            fn()
    number = max(1, int(0.02 / max(seconds(theirs, 1), 1e-7)))
    times = [(seconds(ours, number), seconds(theirs, number)) for _ in range(rounds)]
    mine, other = (statistics.median(t) for t in zip(*times))
    return mine, other, statistics.median(b / a for a, b in times)


IMPORT = "import time; t = time.perf_counter(); import {library}; print(time.perf_counter() - t)"
FIRST_STEP = """
import time; t = time.perf_counter()
import sys; sys.path.insert(0, {folder!r})
import bench, {library}
bench.lenet_step({library}, 4)()
print(time.perf_counter() - t)
"""
MEMORY = """
import sys; sys.path.insert(0, {folder!r})
import bench, {library}
{library}.zeros(1)
before = bench.peak_memory()
step = {make}
for _ in range(20):
    step()
print(bench.peak_memory(), before)
"""


def peak_memory():
    """The most memory that this process has held, in MB. Linux's own count: getrusage's begins with the parent's."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    except FileNotFoundError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def in_process(code, library, **values):
    """The numbers that a program prints, run in a process of its own."""
    code = code.format(library=library, folder=str(sys.path[0]), **values)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def compare_processes(code, rounds):
    """Like ``compare`` for a program that prints its own time."""
    times = []
    for k in range(rounds + 1):
        pair = in_process(code, "numtorch")[0], in_process(code, "torch")[0]
        if k:                               # the first run fills caches, of the disk and of kernels
            times.append(pair)
    mine, other = (statistics.median(t) for t in zip(*times))
    return mine, other, statistics.median(b / a for a, b in times)


PROCESSES = {"import (process)": IMPORT, "import and first step of LeNet, batch 4 (process)": FIRST_STEP}
MEMORIES = {f"{name} (process)": make for name, make in (
    ("LeNet 3x32x32, batch 64", "bench.lenet_step({library}, 64)"), ("LeNet 3x32x32, batch 4", "bench.lenet_step({library}, 4)"),
    ("MLP 784-300-100-10, batch 32", "bench.mlp_step({library})"),
    ("softmax forward and backward, 1e6", "bench.BENCHMARKS['softmax of rows, forward and backward, 1e6 float32']({library})"))}


def show(name, mine, other, ratio):
    unit, factor = ("us", 1e6) if other < 1e-3 else ("ms", 1e3)
    print(f"{name:58}{mine * factor:10.2f}{other * factor:10.2f} {unit}{ratio:8.2f}", flush=True)


def main():
    """Runs the benchmarks whose name contains the pattern and prints a table; writes it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="", help="run only benchmarks with this in their name")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each library (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    options = parser.parse_args()
    figures = {}
    print(f"{'':58}{'numtorch':>10}{'torch':>10}   {'speed':>8}")
    for name, code in PROCESSES.items():
        if options.pattern in name:
            figures[name] = compare_processes(code, min(options.rounds, 5))
            show(name, *figures[name])
    for name, make in BENCHMARKS.items():
        if options.pattern in name:
            figures[name] = compare(make, options.rounds)
            show(name, *figures[name])
    chosen = {name: make for name, make in MEMORIES.items() if options.pattern in name}
    if chosen:
        print(f"\n{'peak memory of the process, and above what it takes to import':69}{'numtorch':>16}{'torch':>16} MB")
    for name, make in chosen.items():
        pair = [in_process(MEMORY, library, make=make.format(library=library)) for library in ("numtorch", "torch")]
        figures[f"memory, {name}"] = pair
        print(f"{name:69}" + "".join(f"{peak:8.0f}{peak - before:+8.0f}" for peak, before in pair), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
