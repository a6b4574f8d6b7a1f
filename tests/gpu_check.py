"""All that needs a GPU, in one command: ``python tests/gpu_check.py [--json FILE] [--only WORDS] [--minutes 8]``.

Needs a checkout, a GPU, numba-cuda and cuda-core; installs nothing. PyTorch is the yardstick where it is there. Prints one
table, writes JSON, and exits with 1 if a result is wrong. Each section is a process with a time limit, so that none ends
another; what one has found before it is ended is in the table. ``--small`` takes small sizes, on the simulator of tests/.

    device    what this is measured on
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
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
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

class _NoPytest:
    """In the place of pytest, of which tests/test_ops.py needs the decorators: they leave functions as they are."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **options):
        return args[0] if len(args) == 1 and callable(args[0]) else self


if importlib.util.find_spec("pytest") is None:
    sys.modules["pytest"] = _NoPytest()

# section -> its share of the time, of which each leaves to the next ones what it does not need
SECTIONS = {"device": 1, "rows": 8, "grads": 2, "sanitizer": 3, "host": 1, "bandwidth": 2, "matmul": 3, "steps": 4}


class Results:
    """The lines of the table, which are in the file ``path`` as soon as they are known."""

    def __init__(self, path, show=True):
        self.path, self.show, self.lines = Path(path), show, []
        self.write()

    def add(self, section, what, value, note="", ok=True):
        """Adds and prints a line; ``ok`` False makes the whole run fail."""
        self.take([{"section": section, "what": what, "value": value, "note": note, "ok": ok}], self.show)

    def take(self, lines, show=False):
        """Adds lines."""
        self.lines += lines
        self.write()
        for line in lines if show else ():
            passed = "" if line["ok"] else "FAILED "
            print("{section:10} {what:44} {value:>16} ".format(**line) + passed + line["note"], flush=True)

    @property
    def failed(self):
        """What is wrong, a text each."""
        return ["{section}: {what}: {value} {note}".format(**line) for line in self.lines if not line["ok"]]

    def write(self):
        """Puts all lines into the file, at once."""
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_text(json.dumps({"lines": self.lines, "failed": self.failed}, indent=1))
        beside.replace(self.path)


def lines_of(path):
    """The lines that a process left in its file."""
    return json.loads(path.read_text())["lines"] if path.exists() else []


def process(options, part, path, seconds, command=(), **environment):
    """Runs a part of this file as a process; (its exit status, or None if its time was up; the end of what it wrote to stderr)."""
    arguments = [*command, sys.executable, __file__, *part, "--json", str(path), "--minutes", str(seconds / 60)]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(arguments + ["--small"] * options.small, stderr=errors, env={**os.environ, **environment},
                                 start_new_session=not options.section)
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(seconds + 10)         # by its own clock it ends before that
        if code is None:
            if options.section:
                child.kill()
            else:
                os.killpg(child.pid, signal.SIGKILL)        # a section, and what it has started
            child.wait()
        errors.seek(0)
        return code, errors.read()[-2000:]


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
    """In a child process: every n-th row from one on, each against the CPU. It ends where no more can be asked of the device."""
    import ops_db
    from device_rows import LAYOUTS, check
    from test_ops import drawn_samples

    import numtorch

    part, parts, first = map(int, options.shard.split("/"))
    for row in ops_db.rows()[part::parts][first:]:
        if time.monotonic() > options.deadline:
            return
        results.take([{"section": "rows", "what": row.id, "value": "begun", "note": "", "ok": False}])
        note = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for number, (what, drawn) in enumerate(drawn_samples(row)):
                    for k, dtype in enumerate(("float32", *(d for d in row.also if not number))):
                        check(row, drawn, dtype, LAYOUTS[(number + k) % 3], f"{what} {dtype}")
                numtorch.cuda.synchronize()
        except Exception as error:
            note = f"{type(error).__name__}: {str(error).strip()[:300]}"
        results.lines[-1].update(value="wrong" if note else "right", note=note, ok=not note)
        results.write()
        if note:
            numtorch.cuda.synchronize()     # raises, and ends the process, after an error that lasts


def sharded(options, parts, folder, command=()):
    """All rows, in ``parts`` processes at once, one after a crash going on behind the row of the crash.

    Returns (lines, [(exit status, end of stderr)] of the processes, how many rows there are).
    """
    import ops_db

    count, env = len(ops_db.rows()), {"NUMTORCH_THREADS": "1"}

    def run(part):
        lines, ends = [], []
        while len(lines) < len(range(part, count, parts)) and time.monotonic() < options.deadline:
            path = Path(folder) / f"{part}_{len(lines)}.json"
            ends.append(process(options, ["--shard", f"{part}/{parts}/{len(lines)}"], path, options.deadline - time.monotonic(),
                                command, **env))
            new = lines_of(path)
            if new and new[-1]["value"] == "begun":
                ended = "its time was up" if ends[-1][0] is None else f"the process ended with {ends[-1][0]}: {ends[-1][1][-300:]}"
                new[-1].update(value="ended" if ends[-1][0] is not None else "not run", note=ended)
            lines += new
            if not new or len(ends) > 10:       # it does not even start, or ends at every row
                break
        return lines, ends
    with ThreadPoolExecutor(parts) as pool:
        found = list(pool.map(run, range(parts)))
    return [line for lines, _ in found for line in lines], [end for _, ends in found for end in ends], count


def check_rows(options, results):
    """Every row of tests/ops_db on the device."""
    if options.small:
        options.shard = "0/40/0"
        shard(options, results)
        results.add("rows", "rows that are right", f"{sum(line['ok'] for line in results.lines)} of {len(results.lines)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        lines, ends, count = sharded(options, max(1, (os.cpu_count() or 2) - 1), folder)
    right = sum(line["ok"] for line in lines)
    results.take([line for line in lines if not line["ok"] and line["value"] != "not run"], show=True)
    results.add("rows", "rows of the op table that are right", f"{right} of {count}", ok=right == count)
    done = {line["what"] for line in lines if line["value"] != "not run"}
    if len(done) < count:
        note = next((text for code, text in ends if code), "")
        results.add("rows", "rows for which there was no time", str(count - len(done)), note, ok=False)


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
    """compute-sanitizer over as many rows as there is time for, from the first of each process on."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/cuda/bin"]
    tool = next((Path(d) / "compute-sanitizer" for d in folders if (Path(d) / "compute-sanitizer").exists()), None)
    if tool is None or options.small:
        results.add("sanitizer", "compute-sanitizer", "not there", "nothing was checked by it")
        return
    until = options.deadline
    for turn, kind in enumerate(("memcheck", "racecheck")):
        options.deadline = time.monotonic() + (until - time.monotonic()) / (2 - turn)
        with tempfile.TemporaryDirectory() as folder:
            lines, ends, count = sharded(options, max(1, (os.cpu_count() or 2) // 2), folder,
                                         [str(tool), "--tool", kind, "--error-exitcode", "9"])
        for code, output in ends:
            if code == 9:
                results.add("sanitizer", kind, "found", output[-1500:], ok=False)
        done = sum(line["value"] in ("right", "wrong") for line in lines)
        results.add("sanitizer", f"{kind}: processes without a finding", f"{sum(code != 9 for code, _ in ends)} of {len(ends)}",
                    f"{done} of {count} rows", ok=done > 0)


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


def check_steps(options, results):
    """Forward, backward and a step of SGD (AdamW for GPT); losses go down alike."""
    from gpu_models import gpt, lenet, resnet18

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
            times.append(milliseconds(L, step, 1 if options.small else 20, 0 if options.small else 5))
            losses.append([t.item() for t in seen])
        note = f"{times[0] / times[1]:.2f} of torch's time, goal 1.3" if T is not None else ""
        results.add("steps", f"{name}, ms a step", f"{times[0]:.3f}", note)
        shown = " ".join(f"{run[0]:.4f} -> {run[-1]:.4f}" for run in losses)
        results.add("steps", f"{name}, loss", f"{losses[0][-1]:.4f}", f"first and last, numtorch then torch: {shown}",
                    ok=losses[0][-1] == losses[0][-1] and (T is None or abs(losses[0][0] - losses[1][0]) < 1e-3))


# ---- the command ---------------------------------------------------------------------------------------------------------

def check_device(options, results):
    """What this is measured on."""
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


def child(options, results):
    """One section, or share of the rows, in this process."""
    with contextlib.ExitStack() as stack:
        if options.small:
            import simulator
            stack.enter_context(simulator.installed(seed=1))
        if options.shard:
            shard(options, results)
            return
        try:
            globals()[f"check_{options.section}"](options, results)
        except Exception as error:
            results.add(options.section, "ended early", type(error).__name__, str(error)[:1000], ok=False)


def parent(options, results):
    """The sections one after the other, each in a process."""
    sections = options.only.split(",")
    for k, section in enumerate(sections):
        started, path = time.monotonic(), results.path.with_name(f"{results.path.stem}_{section}.json")
        share = SECTIONS[section] / sum(SECTIONS[other] for other in sections[k:])
        code, errors = process(options, ["--section", section], path, max(20.0, (options.deadline - started) * share))
        results.take(lines_of(path))
        path.unlink(missing_ok=True)
        if code is None:
            results.add(section, "ended early", "its time was up", ok=False)
        elif code and all(line["ok"] for line in results.lines if line["section"] == section):
            results.add(section, "ended early", f"status {code}", errors, ok=False)
        results.add(section, "seconds", f"{time.monotonic() - started:.0f}")


def main(arguments=None):
    """Runs the sections that are asked for; 0 if all results are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default="gpu_check.json", help="where the results go")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between them")
    parser.add_argument("--minutes", type=float, default=8, help="how long it may take")
    parser.add_argument("--small", action="store_true", help="small sizes, on the simulator")
    parser.add_argument("--shard", help=argparse.SUPPRESS)
    parser.add_argument("--section", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = set(options.only.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    options.deadline = time.monotonic() + 60 * options.minutes
    results = Results(options.json, show=not options.shard)
    if options.shard or options.section:
        child(options, results)
        return int(bool(results.failed))
    parent(options, results)
    if results.failed:
        print(f"\n{len(results.failed)} failed:", *results.failed, sep="\n  ")
    return int(bool(results.failed))


if __name__ == "__main__":
    sys.exit(main())
