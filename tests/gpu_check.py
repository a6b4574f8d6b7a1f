"""All that needs a GPU, in one command: ``python tests/gpu_check.py [--json FILE] [--only WORDS] [--minutes 8]``.

Needs a checkout, a GPU, numba-cuda and cuda-core; installs nothing. PyTorch is the yardstick where it is there. Prints one
table, writes JSON, and exits with 1 if a result is wrong. ``--small`` takes sizes that the simulator of tests/ can run.

    rows      every row of the op table on the device, against the CPU; in as many processes as there are cores
    grads     first and second gradients of a sample of rows, against central differences
    sanitizer compute-sanitizer's memcheck and racecheck over each kernel
    host      microseconds that a launch, an operation and an allocation cost the host
    bandwidth GB/s of copy, add, gelu, sum, softmax, layer_norm, as a share of the copy's
    matmul    TFLOP/s of float32 products, as a share of torch's (cuBLAS, TF32 off); convolutions as a share of cuDNN's
    steps     training steps of LeNet, ResNet-18 and a small GPT, as a multiple of torch's time
"""
import argparse
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


class _Kernels:
    """Finds numtorch.kernels in the checkout, where setup.cfg's package_dir has not been applied."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "numtorch.kernels":
            return None
        return importlib.util.spec_from_file_location(name, ROOT / "kernels" / "__init__.py",
                                                      submodule_search_locations=[str(ROOT / "kernels")])


if importlib.util.find_spec("numtorch") is None or Path(importlib.util.find_spec("numtorch").origin).parent.parent == ROOT:
    sys.meta_path.insert(0, _Kernels)

SECTIONS = ("rows", "grads", "sanitizer", "host", "bandwidth", "matmul", "steps")


class Results:
    """The lines of the table."""

    def __init__(self, show=True):
        self.lines, self.failed, self.show = [], [], show

    def add(self, section, what, value, note="", ok=True):
        """Adds and prints a line; ``ok`` False makes the whole run fail."""
        self.lines.append({"section": section, "what": what, "value": value, "note": note, "ok": ok})
        if not ok:
            self.failed.append(f"{section}: {what}: {value} {note}")
        if self.show:
            print(f"{section:10} {what:44} {value:>16} {'' if ok else 'FAILED '}{note}", flush=True)


def yardstick():
    """PyTorch with a GPU and TF32 off, or None."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch


def milliseconds(L, run, repeats=20, warm=3):
    """The median time of ``run`` on the device, between two events."""
    for _ in range(warm):
        run()
    times = []
    for _ in range(repeats):
        start, end = L.cuda.Event(enable_timing=True), L.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


# ---- is it right? --------------------------------------------------------------------------------------------------------

def shard(options, results):
    """In a child process: every n-th row, each against the CPU."""
    import ops_db
    import test_cuda_ops as suite
    from test_ops import drawn_samples

    part, parts = options.shard
    for row in ops_db.rows()[part::parts]:
        if time.monotonic() > options.deadline:
            results.add("rows", row.id, "not run", "out of time", ok=False)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for number, (what, drawn) in enumerate(drawn_samples(row)):
                    for k, dtype in enumerate(("float32", *(d for d in row.also if not number))):
                        suite.check(row, drawn, dtype, suite.LAYOUTS[(number + k) % 3], f"{what} {dtype}")
            results.add("rows", row.id, "right")
        except Exception as error:
            results.add("rows", row.id, type(error).__name__, str(error).strip()[:300], ok=False)


def children(options, section, parts, command=()):
    """Runs this file in ``parts`` processes at once; yields the lines of each."""
    folder = Path(options.json).parent
    started = []
    for part in range(parts):
        file = folder / f"gpu_check_{section}_{part}.json"
        arguments = [*command, sys.executable, __file__, "--shard", f"{part}/{parts}", "--json", str(file),
                     "--minutes", str(max(0.5, (options.deadline - time.monotonic()) / 60))]
        started.append((file, subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
    for file, process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(1.0, options.deadline + 20 - time.monotonic()))
        process.kill()
        output = process.communicate()[0]
        lines = json.loads(file.read_text())["lines"] if file.exists() else None
        file.unlink(missing_ok=True)
        yield process.returncode, output, lines


def check_rows(options, results):
    """Every row of tests/ops_db on the device."""
    if options.small:
        options.shard = 0, 40
        shard(options, results)
        return
    right, wrong = 0, []
    for code, output, lines in children(options, "rows", max(1, (os.cpu_count() or 2) - 1)):
        if lines is None:
            results.add("rows", "a process", f"ended with {code}", output[-2000:], ok=False)
        else:
            right += sum(line["ok"] for line in lines)
            wrong += [line for line in lines if not line["ok"]]
    for line in wrong:
        results.add("rows", line["what"], line["value"], line["note"], ok=False)
    results.add("rows", "rows of the op table that are right", f"{right} of {right + len(wrong)}", ok=not wrong)


def check_grads(options, results):
    """gradcheck and gradgradcheck in float64 of every 15th differentiable row."""
    import ops_db
    import test_ops
    from ops_db import D, Drawn, swap

    import numtorch
    from numtorch.autograd import gradcheck, gradgradcheck

    rows = [row for row in ops_db.rows() if row.grad and row.gradgrad and not row.seed and "gradcheck" not in row.skip]
    for row in rows[::150 if options.small else 15]:
        drawn = row.draw(row.samples[0], 0)
        inputs = []

        def place(d, inputs=inputs):
            t = test_ops.tensor_of(numtorch, d, "float64", False).cuda()
            if test_ops.wants_grad(d) and d.array.size:
                inputs.append(t.requires_grad_())
            return t
        tree = swap(swap(drawn, Drawn, place), D, lambda d: getattr(numtorch, d.name))

        def fn(*values, tree=tree, inputs=inputs, row=row):
            new = {id(old): value for old, value in zip(inputs, values)}
            args, kwargs = swap(tree, numtorch.Tensor, lambda t: new.get(id(t), t))
            found = test_ops.tensors(test_ops.ours(row)(*test_ops.in_place_safe(row, args), **kwargs))
            return tuple(t for t in found if t.requires_grad)
        if inputs:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    right = gradcheck(fn, tuple(inputs)) and gradgradcheck(fn, tuple(inputs))
                results.add("grads", row.id, "right" if right else "wrong", ok=right)
            except Exception as error:
                results.add("grads", row.id, type(error).__name__, str(error).strip()[:300], ok=False)


def check_sanitizer(options, results):
    """compute-sanitizer over a share of the rows that together use each family of kernels."""
    tool = next((p for p in (*(Path(d) / "compute-sanitizer" for d in os.environ.get("PATH", "").split(os.pathsep)),
                             Path("/usr/local/cuda/bin/compute-sanitizer")) if p.exists()), None)
    if tool is None or options.small:
        results.add("sanitizer", "compute-sanitizer", "not found")
        return
    for kind in ("memcheck", "racecheck"):
        until = options.deadline
        options.deadline = min(until, time.monotonic() + 60)
        command = [str(tool), "--tool", kind, "--error-exitcode", "9"]
        codes = []
        for code, output, lines in children(options, kind, max(1, (os.cpu_count() or 2) - 1), command):
            codes.append(code)
            if code == 9:
                results.add("sanitizer", kind, "found", output[-1500:], ok=False)
            done = sum(line["value"] != "not run" for line in lines or ())
            results.lines.append({"section": "sanitizer", "what": f"{kind}: rows of one process", "value": done, "note": "",
                                  "ok": True})
        results.add("sanitizer", f"{kind}: processes without a finding", f"{len(codes) - codes.count(9)} of {len(codes)}")
        options.deadline = until


# ---- how fast is it? -----------------------------------------------------------------------------------------------------

def host_microseconds(L, run, n=2000):
    """Microseconds a call that the host is busy, the device keeping up."""
    for _ in range(100):
        run()
    L.cuda.synchronize()
    best = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(n // 5):
            run()
        best.append((time.perf_counter() - start) / (n // 5) * 1e6)
        L.cuda.synchronize()
    return statistics.median(best)


def check_host(options, results):
    """What an operation costs before the device begins."""
    from numtorch.kernels import _device, pointwise_cuda

    import numtorch

    n = 100 if options.small else 5000
    x, y = numtorch.ones(64, device="cuda"), numtorch.ones(64, device="cuda")
    out = _device.empty((64,), x._a.dtype)
    kernel = pointwise_cuda.kernel("add", ("float32",) * 3)
    arguments = (x._a, 2, 0.0, y._a, 2, 0.0, out, 64)
    T = yardstick()
    results.add("host", "us a launch", f"{host_microseconds(numtorch, lambda: kernel.launch(1, 32, *arguments), n):.2f}", "goal 2")
    results.add("host", "us an allocation and its release",
                f"{host_microseconds(numtorch, lambda: _device.empty((64,), x._a.dtype), n):.2f}")
    own = host_microseconds(numtorch, lambda: x + y, n)
    note = ""
    if T is not None:
        a, b = T.ones(64, device="cuda"), T.ones(64, device="cuda")
        note = f"torch {host_microseconds(T, lambda: a + b, n):.2f}"
    results.add("host", "us of add of 64 numbers", f"{own:.2f}", note)


def check_bandwidth(options, results):
    """Bytes that must move, over the time, beside a copy of the same size."""
    import numtorch
    T = yardstick()
    rows, columns = (8, 64) if options.small else (1 << 16, 1 << 10)
    nbytes, repeats = rows * columns * 4, 1 if options.small else 20
    cases = {"copy": (2, lambda L, x, y: y.copy_(x)), "add": (3, lambda L, x, y: x + y),
             "mul by a number": (2, lambda L, x, y: x * 2.0), "gelu": (2, lambda L, x, y: L.nn.functional.gelu(x)),
             "sum of all": (1, lambda L, x, y: x.sum()), "sum of rows": (1, lambda L, x, y: x.sum(1)),
             "sum of columns": (1, lambda L, x, y: x.sum(0)), "softmax of rows": (2, lambda L, x, y: x.softmax(1)),
             "layer_norm of rows": (2, lambda L, x, y: L.nn.functional.layer_norm(x, (columns,))),
             "transposed copy": (2, lambda L, x, y: x.t().contiguous())}
    best = None
    for name, (times, run) in cases.items():
        rates = []
        for L in (numtorch, T):
            if L is None:
                continue
            x, y = L.rand(rows, columns, device="cuda"), L.rand(rows, columns, device="cuda")
            rates.append(times * nbytes / milliseconds(L, lambda x=x, y=y, L=L, run=run: run(L, x, y), repeats) / 1e6)
        best = best or rates[0]
        note = f"{rates[0] / best:.0%} of the copy" + (f", torch {rates[1]:.0f}" if T is not None else "")
        results.add("bandwidth", f"{name}, {rows} x {columns}, GB/s", f"{rates[0]:.0f}", note)


def check_matmul(options, results):
    """Products and convolutions in float32 without TF32."""
    import numtorch
    T = yardstick()
    repeats = 1 if options.small else 10
    for n in ((16,) if options.small else (512, 1024, 2048, 4096, 8192)):
        rates = []
        for L in (numtorch, T):
            if L is not None:
                a, b = L.rand(n, n, device="cuda"), L.rand(n, n, device="cuda")
                rates.append(2 * n ** 3 / milliseconds(L, lambda a=a, b=b: a @ b, repeats) / 1e9)
        note = f"{rates[0] / rates[1]:.0%} of torch's" if T is not None else ""
        results.add("matmul", f"{n} x {n} x {n}, TFLOP/s", f"{rates[0]:.1f}", note)
    shapes = [(1, 2, 6, 3, 3)] if options.small else [(64, 64, 56, 64, 3), (64, 128, 28, 128, 3), (64, 256, 14, 256, 3),
                                                      (64, 512, 7, 512, 3), (64, 3, 224, 64, 7), (64, 64, 56, 256, 1)]
    for batch, channels, size, filters, k in shapes:
        times = []
        for L in (numtorch, T):
            if L is None:
                continue
            x = L.rand(batch, channels, size, size, device="cuda", requires_grad=True)
            w = L.rand(filters, channels, k, k, device="cuda", requires_grad=True)
            y = L.nn.functional.conv2d(x, w, padding=k // 2)
            g = L.ones_like(y)
            times.append((milliseconds(L, lambda L=L, x=x, w=w, k=k: L.nn.functional.conv2d(x.detach(), w.detach(), padding=k // 2),
                                       repeats),
                          milliseconds(L, lambda L=L, x=x, w=w, y=y, g=g: L.autograd.grad(y, (x, w), g, retain_graph=True),
                                       repeats)))
        note = "torch's time is {:.2f} and {:.2f} of it".format(*(b / a for a, b in zip(*times))) if T is not None else ""
        results.add("matmul", f"conv {batch}x{channels}x{size}x{size} {filters}x{k}x{k}, ms both ways",
                    f"{times[0][0]:.3f} {times[0][1]:.3f}", note)


def lenet(L):
    """(model, input, target) of LeNet on 3 x 32 x 32 images."""
    nn = L.nn
    net = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return net, L.randn(64, 3, 32, 32), L.randint(0, 10, (64,))


def resnet18(L):
    """(model, input, target) of ResNet-18 (He et al. 2015) on 3 x 224 x 224 images."""
    nn = L.nn

    class Block(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.path = nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(),
                                      nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside))
            self.short = nn.Sequential() if stride == 1 and inside == outside else nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

        def forward(self, x):
            return L.relu(self.path(x) + self.short(x))
    blocks = [Block(a, b, s) for a, b, s in ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1),
                                             (256, 512, 2), (512, 512, 1))]
    net = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks,
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return net, L.randn(32, 3, 224, 224), L.randint(0, 1000, (32,))


def gpt(L):
    """(model, input, target) of a GPT of 6 layers, width 384, 6 heads, context 256, 65 characters."""
    nn, width, heads, context, letters = L.nn, 384, 6, 256, 65

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x):
            b, t, _ = x.shape
            q, k, v = (p.view(b, t, heads, -1).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, -1))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, width))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(letters, width), nn.Embedding(context, width)
            self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(6)]), nn.LayerNorm(width)
            self.head = nn.Linear(width, letters)

        def forward(self, ids):
            x = self.token(ids) + self.place(L.arange(ids.shape[1], device=ids.device))
            return self.head(self.norm(self.blocks(x))).flatten(0, 1)
    return GPT(), L.randint(0, letters, (32, context)), L.randint(0, letters, (32 * context,))


def check_steps(options, results):
    """Forward, backward and a step of SGD (AdamW for GPT); losses go down alike."""
    import numtorch
    T = yardstick()
    for name, make, rule, rate in (("LeNet, batch 64", lenet, "SGD", 1e-2), ("ResNet-18, batch 32", resnet18, "SGD", 1e-2),
                                   ("GPT, batch 32 x 256", gpt, "AdamW", 1e-3)):
        if options.small and make is not lenet:
            continue
        times, losses = [], []
        for L in (numtorch, T):
            if L is None:
                continue
            L.manual_seed(0)
            net, x, y = make(L)
            if options.small:
                x, y = x[:2], y[:2]
            net, x, y = net.cuda(), x.cuda(), y.cuda()
            optimizer = getattr(L.optim, rule)(net.parameters(), lr=rate)
            seen = []

            def step(L=L, net=net, x=x, y=y, optimizer=optimizer, seen=seen):
                optimizer.zero_grad()
                loss = L.nn.functional.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
                seen.append(loss.detach())
            times.append(milliseconds(L, step, 1 if options.small else 20, 1 if options.small else 5))
            losses.append([t.item() for t in seen])
        note = f"{times[0] / times[1]:.2f} of torch's time, goal 1.3" if T is not None else ""
        results.add("steps", f"{name}, ms a step", f"{times[0]:.3f}", note)
        shown = " ".join(f"{run[0]:.4f} -> {run[-1]:.4f}" for run in losses)
        results.add("steps", f"{name}, loss", f"{losses[0][-1]:.4f}", f"first and last, numtorch then torch: {shown}",
                    ok=losses[0][-1] == losses[0][-1] and (T is None or abs(losses[0][0] - losses[1][0]) < 1e-3))


# ---- the command ---------------------------------------------------------------------------------------------------------

def about(results):
    """What this was measured on."""
    import platform

    import numba
    import numpy

    import numtorch
    properties = numtorch.cuda.get_device_properties(0)
    T = yardstick()
    versions = f"Python {platform.python_version()}, numpy {numpy.__version__}, numba {numba.__version__}"
    results.add("device", properties.name, f"sm_{properties.major}{properties.minor}",
                f"{properties.multi_processor_count} multiprocessors, {properties.total_memory / 2**30:.0f} GiB; {versions}, "
                f"torch {T.__version__ if T else 'not there'}; {time.strftime('%Y-%m-%d')}")


def main(arguments=None):
    """Runs the sections that are asked for; 0 if all results are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default="gpu_check.json", help="where the results go")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between them")
    parser.add_argument("--minutes", type=float, default=8, help="time after which no further row is begun")
    parser.add_argument("--small", action="store_true", help="sizes that the simulator can run")
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.deadline = time.monotonic() + 60 * options.minutes * (1 if options.shard else 0.9)
    results = Results(show=not options.shard)
    if options.shard:
        options.shard = tuple(map(int, options.shard.split("/")))
        shard(options, results)
    else:
        about(results)
        for section in options.only.split(","):
            started = time.monotonic()
            try:
                globals()[f"check_{section}"](options, results)
            except Exception as error:
                results.add(section, "ended early", type(error).__name__, str(error)[:1000], ok=False)
            results.add(section, "seconds", f"{time.monotonic() - started:.0f}")
    Path(options.json).write_text(json.dumps({"lines": results.lines, "failed": results.failed}, indent=1))
    if results.failed and not options.shard:
        print(f"\n{len(results.failed)} failed:", *results.failed, sep="\n  ")
    return int(bool(results.failed))


if __name__ == "__main__":
    sys.exit(main())
