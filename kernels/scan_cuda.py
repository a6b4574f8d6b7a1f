"""Scans on a CUDA device: running sums, products, extremes, log-sum-exps and linear recurrences, along rows or columns.

All are joined by an operation that is associative: state (left, right) -> state of both. In ``rows`` a block walks a row, tile by
tile; a thread scans its neighbouring elements, a warp its threads' totals by shuffles, and each warp those of all warps. In
``columns`` a thread walks a column. Where that leaves the device idle, rows and columns are cut into parts: a first pass, without
results, notes the total of each part, and the second begins a part with the totals of those before it. The order of additions
follows from the shape and the number of multiprocessors; a single pass, whose parts take what others have ready, would change it.
"""
from dataclasses import dataclass
from functools import lru_cache

from . import _cuda_loops, _cuda_states, _driver
from . import reduce as formulas
from ._cuda import blocks
from ._cuda_loops import SIZES, State, indented
from ._device import empty
from .pointwise_cuda import _LETTER
from .reduce_cuda import KINDS, RESIDENT, computed, exchanged, same, summed

THREADS = 512           # of a block, at most; half of them where elements take 8 bytes, and so more registers
SHORT = 64              # bytes of a row up to which a thread walks it, as if it were a column
UNROLL = 4              # elements of a column that a thread asks for before it uses the first
_SIZE = {_LETTER[dtype]: size for dtype, size in SIZES.items()}


@dataclass(frozen=True)
class Scan:
    """The formulas of a scan (see _cuda_states.py).

    start(x): the state before the first element, for an element x. combine: of two states, the left one first. element: writes
    the state of one element from its values and its place. results: writes the results of a state. kinds, parts, outs: as of a
    Reduction. inputs: how many arrays are scanned side by side. shape: for the size of an element, how many of a row a thread
    scans by itself, and how many threads a block has at most.
    """

    start: object
    combine: object
    kinds: str = "fic"
    parts: object = summed
    outs: object = same
    shape: object = lambda itemsize: (8, THREADS) if itemsize <= 4 else (4, THREADS // 2)
    element: object = lambda values, place: values
    results: object = lambda state: state
    inputs: int = 1


def _place(name):
    return Scan(getattr(_cuda_states, f"{name}_start"), getattr(_cuda_states, f"{name}_combine"), "fi",
                lambda dtype: exchanged(dtype) + "q", lambda dtype: same(dtype) + "q",
                element=lambda values, place: [*values, place])


SCANS = {
    "cumsum": Scan(formulas.sum_start, formulas.sum_combine), "cumprod": Scan(formulas.prod_start, formulas.prod_combine),
    "cummax": _place("cummax"), "cummin": _place("cummin"),
    "logcumsumexp": Scan(_cuda_states.logsumexp_start, _cuda_states.logsumexp_merge, "f", lambda dtype: 2 * computed(dtype),
                         shape=lambda itemsize: (8, THREADS) if itemsize <= 4 else (2, THREADS // 2),     # a double's exp is long
                         element=lambda values, place: [*values, "A(1)"],
                         results=lambda state: [f"logsumexp_finish({', '.join(state)})"]),
    "recurrence": Scan(_cuda_states.recurrence_start, _cuda_states.recurrence_combine, "fc", lambda dtype: 2 * computed(dtype),
                       results=lambda state: state[1:], inputs=2),
}


# ---- the text of its kernels -----------------------------------------------------------------------------------------

class Writer(State):
    """Lines of a scan's kernels for one dtype."""

    def __init__(self, name, dtype):
        self.name, self.how, self.dtype = name, SCANS[name], dtype
        super().__init__(self.how.parts(dtype))
        self.outs, self.width = self.how.outs(dtype), 16 // SIZES[dtype]
        self.items, self.threads = self.how.shape(SIZES[dtype])
        self.inputs = [f"x{k}" for k in range(self.how.inputs)]
        totals, words = self.arrays("total")
        self.arguments = [*self.inputs, *(f"out{k}" for k in range(len(self.outs))), *totals]
        self.words = ["T*"] * len(self.inputs) + [letter + "*" for letter in self.outs] + words

    def value(self, text):
        """An element as the state holds it."""
        convert = self.parts[0] != computed(self.dtype)
        return f"{_cuda_loops.TYPES[self.parts[0]]}({text})" if convert else text

    def start(self, k, value):
        """State ``k`` before the first element; ``value`` is one of them."""
        return [f"{self.joined(k)} = start({self.value(value)})"]

    def element(self, k, values, place):
        """State ``k`` of one element."""
        return [f"{self.joined(k)} = {', '.join(self.how.element([self.value(v) for v in values], place))}"]

    def combine(self, k, left, right):
        """State ``k`` of two, as text."""
        return [f"{self.joined(k)} = combine({left}, {right})"]

    def stored(self, k):
        """The results of state ``k``, as they are stored."""
        found = self.how.results(self.names(k))
        return [f"A({v})" if letter in "bBhi" and part != letter else v
                for v, letter, part in zip(found, self.outs, self.parts[-len(found):])]

    def up(self, k, distances):
        """Scans state ``k`` over the lanes of a warp, by ``distances``, each with its condition or None."""
        lines = []
        for distance, condition in distances:
            step = [f"{self.joined('_other')} = {self.exchanged(k, 'up', distance)}",
                    f"if lane >= {distance}:", *indented(self.combine(k, self.joined("_other"), self.joined(k)), 1)]
            lines += [f"if {condition}:", *indented(step, 1)] if condition else step
        return lines

    def block(self):
        """From each thread's state _own: _left, of all before it with _carry in front; and _carry takes in the whole block.

        The totals of warps lie in one of two places in turn, so that one barrier does: whoever writes to a place again has
        passed the barrier between, and so have all who read it.
        """
        warps = self.threads // 32
        across = [(d, f"warps > {d}") for d in (1, 2, 4, 8, 16) if d < warps]
        return [
            *self.up("_own", [(d, None) for d in (1, 2, 4, 8, 16)]),
            f"{self.joined('_before')} = {self.exchanged('_own', 'up', 1)}",
            f"{self.joined('_all')} = {self.exchanged('_own', 'from', 31)}",
            f"{self.joined('_left')} = {self.joined('_carry')}",
            "if warps > 1:",
            *indented([
                "if lane == 31:", *indented(self.put("shared", "_own", "turn + warp"), 1),
                "cuda.syncthreads()",
                *self.get("shared", "_warp", "turn + min(lane, warps - 1)"),
                f"turn = {warps} - turn",
                *self.up("_warp", across),
                "if warp > 0:",
                *indented(self.combine("_left", self.joined("_left"), self.exchanged("_warp", "from", "warp - 1")), 1),
                f"{self.joined('_all')} = {self.exchanged('_warp', 'from', 'warps - 1')}"], 1),
            "if lane > 0:", *indented(self.combine("_left", self.joined("_left"), self.joined("_before")), 1),
            *self.combine("_carry", self.joined("_carry"), self.joined("_all"))]


def rows(w):
    """(lines, signature) of the kernel for rows of (m, n), each cut into ``parts`` of ``chunk`` elements, one to a block.

    ``reverse`` runs from the end. ``together``: elements of a thread lie at aligned addresses. ``write``: the second pass.
    """
    items, width = w.items, min(w.width, w.items)
    vectors = items // width
    value = [[f"{x}_{j}" for j in range(items)] for x in w.inputs]
    loads, singles = [], []
    for x, names in zip(w.inputs, value):
        loads += [f"{x}v{k} = load_vector({x}, q + {k * width}, {width})" for k in range(vectors)]
        forward = [f"{x}v{j // width}[{j % width}]" for j in range(items)]
        loads += [f"{', '.join(names)} = ({', '.join(reversed(forward))}) if reverse else ({', '.join(forward)})"]
        singles += [f"{v} = load({x}, base + (last - min(p + {j}, last) if reverse else min(p + {j}, last)))"
                    for j, v in enumerate(names)]
    scanned = [line for j in range(items) for line in w.element(j, [v[j] for v in value], f"p + {j}")]
    scanned += [line for j in range(1, items) for line in w.combine(j, w.joined(j - 1), w.joined(j))]
    whole, single = [], []
    results = [w.stored(j) for j in range(items)]
    for k in range(len(w.outs)):
        forward = [f"y{k}_{j}" for j in range(items)]
        size = min(16 // _SIZE[w.outs[k]], items)
        whole += [f"{', '.join(forward)} = {', '.join(r[k] for r in results)}",
                  "if reverse:", f"    {', '.join(forward)} = {', '.join(reversed(forward))}"]
        whole += [f"store_vector(out{k}, q + {j}, ({', '.join(forward[j:j + size])},))" for j in range(0, items, size)]
    for j in range(items):
        place = f"base + (last - p - {j} if reverse else p + {j})"
        single += [f"if p + {j} < end:", *(f"    store(out{k}, {place}, {v})" for k, v in enumerate(results[j]))]
    body = [
        "t, warps, warp, lane = cuda.threadIdx.x, cuda.blockDim.x >> 5, cuda.threadIdx.x >> 5, cuda.threadIdx.x & 31",
        "row, part, last, turn = cuda.blockIdx.x * np.int64(cuda.blockDim.y) + cuda.threadIdx.y, cuda.blockIdx.y, n - 1, 0",
        "if row >= m:                    # a block of several rows, one warp each, has no barrier",
        "    return",
        "base = row * n",
        *w.shared(2 * (w.threads // 32)),
        "first = load(x0, base + (last if reverse else 0))",
        *w.start("_carry", "first"),
        "if write and part > 0:",
        *indented([*w.start("_own", "first"),
                   "if t < part:", *indented(w.get("total", "_own", "row * parts + t"), 1),
                   *w.block()], 1),
        "at, end = part * chunk, min(n, (part + 1) * chunk)",
        "while at < end:",
        *indented([
            f"p = at + t * {items}",
            f"q, whole = base + (n - p - {items} if reverse else p), together and p + {items} <= n",
            "if whole:", *indented(loads, 1),
            "else:", *indented(singles, 1),
            *scanned,
            f"{w.joined('_own')} = {w.joined(items - 1)}",
            *w.block(),
            "if write:",
            *indented([line for j in range(items) for line in w.combine(j, w.joined("_left"), w.joined(j))], 1),
            "    if whole:", *indented(whole, 2),
            "    else:", *indented(single, 2),
            f"at += cuda.blockDim.x * {items}"], 1),
        "if not write and t == 0:", *indented(w.put("total", "_carry", "row * parts + part"), 1)]
    arguments = [*w.arguments, "m", "n", "chunk", "parts", "reverse", "together", "write"]
    head = [f"def {w.name}_rows_{w.dtype}({', '.join(arguments)}):",
            f'    """out[i, k] = {w.name} of x[i, :k + 1], {w.dtype}. Two passes where rows are cut, else one."""']
    return [*head, *indented(body, 1)], [*w.words, *["q"] * 7]


def columns(w):
    """(lines, signature) of the kernel for columns of (outer, n, inner), cut into parts of ``height``, one thread to a part."""
    steps = [[f"{x}_{r}" for x in w.inputs] for r in range(UNROLL)]

    def one(r):
        return [*w.element(0, steps[r], f"i + {r}"), *w.combine("_carry", w.joined("_carry"), w.joined(0)),
                "if write:", *(f"    store(out{k}, at + {r} * step, {v})" for k, v in enumerate(w.stored("_carry")))]

    def loaded(r):
        return [f"{name} = load({x}, at + {r} * step)" for name, x in zip(steps[r], w.inputs)]

    body = [
        "column, part = cuda.blockIdx.x * np.int64(cuda.blockDim.x) + cuda.threadIdx.x, cuda.blockIdx.y",
        "if column >= columns:",
        "    return",
        "if columns <= 0x7FFFFFFF:       # a division takes 56 instructions, one of 64 bits 344",
        "    outer = np.int64(np.uint32(column) // np.uint32(inner))",
        "else:",
        "    outer = column // inner",
        "base = column + outer * (n - 1) * inner",
        "i, end = part * height, min(n, (part + 1) * height)",
        *w.start("_carry", "load(x0, base + (n - 1) * inner if reverse else base)"),
        "if write:",
        "    before = 0",
        "    while before < part:",
        *indented([*w.combine("_carry", w.joined("_carry"), w.got("total", "before * columns + column")), "before += 1"], 2),
        "step = -inner if reverse else inner",
        "at = base + (n - 1 - i if reverse else i) * inner",
        f"while i + {UNROLL - 1} < end:",
        *indented([*(line for r in range(UNROLL) for line in loaded(r)), *(line for r in range(UNROLL) for line in one(r)),
                   f"i, at = i + {UNROLL}, at + {UNROLL} * step"], 1),
        "while i < end:",
        *indented([*loaded(0), *one(0), "i, at = i + 1, at + step"], 1),
        "if not write:", *indented(w.put("total", "_carry", "part * columns + column"), 1)]
    arguments = [*w.arguments, "columns", "n", "inner", "height", "reverse", "write"]
    head = [f"def {w.name}_columns_{w.dtype}({', '.join(arguments)}):",
            f'    """out[o, k, c] = {w.name} of x[o, :k + 1, c], {w.dtype}. Two passes where columns are cut, else one."""']
    return [*head, *indented(body, 1)], [*w.words, *["q"] * 6]


_made = {}                              # (form, name, dtype) -> DeviceKernel


def kernel(form, name, dtype):
    """The kernel "rows" or "columns" of a scan for elements of ``dtype`` (a name)."""
    found = _made.get((form, name, dtype))
    if found is None:
        if KINDS.get(dtype, "?") not in SCANS[name].kinds:
            raise _driver.OnHost(f"{name} of {dtype}")
        writer = Writer(name, dtype)
        lines, words = (rows if form == "rows" else columns)(writer)
        given = {"start": writer.how.start, "combine": writer.how.combine}
        found = _made[form, name, dtype] = _cuda_loops.generated(lines, words, dtype, given, __name__, writer.threads)
    return found


def all_kernels():
    """(form, name, dtype) of every kernel that there can be: for the tests, and to build them ahead of use."""
    return [(form, name, dtype) for name, how in SCANS.items() for dtype, kind in KINDS.items()
            if kind in how.kinds for form in ("rows", "columns")]


# ---- running them ----------------------------------------------------------------------------------------------------

def run(name, inputs, outs, reverse=False):
    """A scan of DeviceArrays (outer, n, inner), contiguous and of one dtype, along n into ``outs``; reverse: from the end."""
    x, (outer, n, inner) = inputs[0], inputs[0].shape
    dtype, processors = x.dtype.name, _driver.current().properties(x.device).multi_processor_count
    letters = SCANS[name].parts(dtype)
    if inner > 1 or n * x.itemsize <= SHORT:
        block, parts, chunk = plan_columns(outer * inner, n, processors)
        form, grid, numbers = "columns", blocks(outer * inner, block), (outer * inner, n, inner, chunk, int(reverse))
    else:
        items, threads = SCANS[name].shape(x.itemsize)
        width = min(16 // x.itemsize, items)
        together = all(not a.ptr & 15 for a in (*inputs, *outs)) and (n % width == 0 or outer == 1 and not reverse)
        block, parts, chunk = plan_rows(outer, n, items, threads, processors)
        form, grid, numbers = "rows", blocks(outer, block[1]), (outer, n, chunk, parts, int(reverse), int(together))
    scan = kernel(form, name, dtype)
    if parts == 1:
        scan.launch(grid, block, *inputs, *outs, *[None] * len(letters), *numbers, 1)
        return
    totals = [empty((outer * inner * parts,), letter, x.device) for letter in letters]
    scan.launch((grid, parts - 1), block, *inputs, *outs, *totals, *numbers, 0)
    scan.launch((grid, parts), block, *inputs, *outs, *totals, *numbers, 1)


@lru_cache(1000)
def plan_rows(m, n, items, threads, processors):
    """How m rows of n elements are shared out.

    Returns:
        Threads of a block, to a row and (single warps) abreast; parts of a row, no more than threads; elements of a part.
    """
    block, wanted = 32, processors * RESIDENT
    while block < threads and block * items < n:
        block *= 2
    tile = block * items
    parts = max(1, min(block, blocks(wanted, m * block), n // (2 * tile)))
    chunk = blocks(n, parts * tile) * tile
    return (block, 1 if block > 32 else threads // 32), blocks(n, chunk), chunk


@lru_cache(1000)
def plan_columns(columns, n, processors):
    """How columns of n elements are shared out: threads of a block, parts of a column, elements of a part."""
    block, wanted = min(THREADS // 2, 128), processors * RESIDENT
    parts = max(1, min(blocks(wanted, columns), n // 64, 256))
    height = blocks(n, parts)
    return block, blocks(n, height), height
