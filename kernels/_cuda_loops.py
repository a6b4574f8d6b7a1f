"""The text of CUDA reductions: the loops around the formulas of a ``Reduction`` (reduce_cuda.py), for one dtype.

Written out rather than looped over: a state is one to three variables, and a thread has several states, each a chain of additions
of its own, all in registers.
"""
import linecache

from . import _cuda, _cuda_states
from ._cuda import DeviceKernel
from .pointwise_cuda import _LETTER

THREADS = 256           # of a block, at most
UNROLL = 4              # rows of columns that a thread asks for before it uses the first
TYPES = {"f": "np.float32", "d": "np.float64", "i": "np.int32", "q": "np.int64", "F": "np.complex64", "D": "np.complex128"}
SIZES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "int64": 8,
         "float64": 8, "complex64": 8, "complex128": 16}


def indented(lines, depth):
    """``lines`` moved in by ``depth`` levels."""
    return ["    " * depth + line for line in lines]


def generated(lines, words, dtype, given, module, threads=None):
    """The DeviceKernel of a text that begins with its def line; ``given``: what it names beside _cuda.py and _cuda_states.py."""
    text = "\n".join(lines) + "\n"
    name = lines[0].partition("(")[0].removeprefix("def ")
    file = f"<CUDA kernel {name}>"
    namespace = {**vars(_cuda_states), **{n: getattr(_cuda, n) for n in _cuda.NAMES}, **given, "__name__": module}
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    exec(compile(text, file, "exec"), namespace)
    return DeviceKernel(namespace[name], " ".join(words), (dtype,), (), threads or THREADS, source=text)


class State:
    """The variables that hold the numbers of a state: a0, b0 ... for the first one of a thread, a1, b1 ... for the next."""

    def __init__(self, parts):
        self.parts = parts

    def names(self, k=0):
        """The variables of state ``k``."""
        return [f"{letter}{k}" for letter in "abc"[:len(self.parts)]]

    def joined(self, k=0):
        """The same, as text."""
        return ", ".join(self.names(k))

    def arrays(self, word):
        """Names and signature of an array for each number."""
        return [f"{word}_{letter}" for letter in "abc"[:len(self.parts)]], [part + "*" for part in self.parts]

    def shared(self, size, word="shared"):
        """An array for each number in shared memory."""
        return [f"{name} = cuda.shared.array({size}, {TYPES[part]})" for name, part in zip(self.arrays(word)[0], self.parts)]

    def put(self, word, k, place):
        """State ``k`` into the arrays."""
        return [f"{array}[{place}] = {v}" for array, v in zip(self.arrays(word)[0], self.names(k))]

    def got(self, word, place):
        """The numbers of the state in the arrays, as text."""
        return ", ".join(f"{array}[{place}]" for array in self.arrays(word)[0])

    def get(self, word, k, place):
        """State ``k`` from the arrays."""
        return [f"{self.joined(k)} = {self.got(word, place)}"]

    def exchanged(self, k, how, where):
        """The numbers of another lane's state, as text; ``how``: "xor", "up" or "from"."""
        real = {"xor": "shfl_xor_sync", "up": "shfl_up_sync", "from": "shfl_sync"}[how]
        return ", ".join(f"complex_{how}({v}, {where})" if part in "FD" else f"cuda.{real}(FULL, {v}, {where})"
                         for v, part in zip(self.names(k), self.parts))


class Writer(State):
    """Lines of a reduction's kernels."""

    def __init__(self, name, how, dtype):
        super().__init__(how.parts(dtype))
        self.name, self.how, self.dtype, self.outs = name, how, dtype, how.outs(dtype)
        self.width = 16 // SIZES[dtype]
        # vectors that a thread asks for before it uses the first: of some types 4 would take too many registers
        self.ahead = 2 if SIZES[dtype] in (1, 16) or SIZES[dtype] == 8 and len(self.parts) == 2 else 4

    def element(self, value):
        """An element as combine takes it."""
        convert = self.how.converted and self.parts[0] != _LETTER[_cuda.computed_in(self.dtype)]
        return f"{TYPES[self.parts[0]]}({value})" if convert else value

    def start(self, k, value):
        """State ``k`` before the first element; ``value`` is one of them."""
        return [f"{self.joined(k)} = start({self.element(value)})"]

    def take(self, k, values, places):
        """Takes ``values``, of the elements at ``places``, into state ``k``."""
        values, own = [self.element(v) for v in values], self.joined(k)
        if self.how.batch is not None and len(values) > 1:
            return self.how.batch(self.names(k), values)
        return [f"{own} = combine({own}, {v}{f', {i}' if self.how.indexed else ''})" for v, i in zip(values, places)]

    def merge(self, k, others):
        """Merges the state of ``others``, text, into state ``k``."""
        return [f"{self.joined(k)} = merge({self.joined(k)}, {others})"]

    def outputs(self):
        """Names and signature of the arrays of results, and of the number that finish takes."""
        names, words = [f"out{n}" for n in range(len(self.outs))], [letter + "*" for letter in self.outs]
        if self.how.divisor:
            names, words = [*names, "divisor"], [*words, {"F": "f", "D": "d"}.get(self.parts[0], self.parts[0])]
        return names, words

    def result(self, place):
        """Writes what state 0 amounts to."""
        finish = self.how.finish is not None
        value = f"finish({self.joined()}{', divisor' if self.how.divisor else ''})" if finish else self.joined()
        values = [f"r{n}" for n in range(len(self.outs))]
        lines = [f"{', '.join(values)} = {value}"]
        for n, (v, letter) in enumerate(zip(values, self.outs)):
            lines.append(f"store(out{n}, {place}, {f'A({v})' if letter in 'bBh' else v})")      # int32 again as it was
        return lines

    def merge_row(self):
        """Merges the states of a row's 2^row_bits threads into that of the first; more than a warp are the whole block."""
        within, across = [], []
        for distance in (16, 8, 4, 2, 1):
            merged = indented(self.merge(0, self.exchanged(0, "xor", distance)), 1)
            within += [f"if row_bits >= {distance.bit_length()}:", *merged]
            across += [f"if warps > {distance}:", *merged] if distance < THREADS // 32 else []
        return [*within, "if row_bits > 5:", *indented([
            *self.shared(max(THREADS // 32, 1)),
            "if t & 31 == 0:", *indented(self.put("shared", 0, "t >> 5"), 1),
            "cuda.syncthreads()",
            "if t < 32:",
            "    if t < warps:", *indented(self.get("shared", 0, "t"), 2),
            *indented(across, 1)], 1)]


def _places(vector, width, place):
    """The elements of a vector, and where they are."""
    return [f"{vector}[{k}]" for k in range(width)], [f"{place} + {k}" for k in range(width)]


def rows(w):
    """(lines, signature) of the kernel for rows.

    A row has ``segments`` of n elements, ``step`` apart, ``total`` elements in all; ``inner`` rows are ``near`` apart, and such
    groups ``far``. A row belongs to 2^row_bits threads, 2^lane_bits of them side by side in a segment, with 16 bytes each at a
    time, the others in further segments. Elements before the first aligned address (x lies ``past`` elements after one) and after
    the last whole vector are taken one by one.
    """
    (parts, part_words), (outs, out_words), width = w.arrays("part"), w.outputs(), w.width
    names = ["x", *outs, *parts, "past", "m", "inner", "far", "near", "segments", "step", "n", "total", "row_bits", "lane_bits"]
    states = 1 if w.how.batch else w.ahead
    one_by_one = indented([*w.take(0, ["load(x, begin + j)"], ["g * n + j"]), "j += lanes"], 2)
    ahead, found = [], []
    for k in range(w.ahead):
        ahead.append(f"v{k} = load_vector(x, begin + j + {k} * apart, {width})")
        found.append(_places(f"v{k}", width, f"g * n + j + {k} * apart"))
    if states == 1:
        taken = w.take(0, sum((v for v, _ in found), []), sum((i for _, i in found), []))
    else:
        taken = [line for k in range(w.ahead) for line in w.take(k, *found[k])]
    body = [
        "t, warps, splits = cuda.threadIdx.x, cuda.blockDim.x >> 5, cuda.gridDim.y",
        "row = cuda.blockIdx.x * np.int64(cuda.blockDim.x >> row_bits) + (t >> row_bits)",
        "own = min(row, m - 1)           # threads beyond the last row repeat it, and write nothing",
        "outer = np.int64(0)",
        "if inner > 1:                   # a division takes 56 instructions, one of 64 bits 344",
        "    if m <= 0x7FFFFFFF:",
        "        outer = np.int64(np.uint32(own) // np.uint32(inner))",
        "    else:",
        "        outer = own // inner",
        "base = outer * far + (own - outer * inner) * near",
        "inside = t & ((1 << row_bits) - 1)",
        "lanes, lane, abreast = 1 << lane_bits, inside & ((1 << lane_bits) - 1), 1 << (row_bits - lane_bits)",
        "first = load(x, base)",
        *(line for k in range(states) for line in w.start(k, "first")),
        f"apart = lanes * {width}",
        "g = cuda.blockIdx.y * abreast + (inside >> lane_bits)",
        "while g < segments:",
        "    begin, length = base + g * step, min(n, total - g * n)",
        f"    head = min(length, -(begin + past) & {width - 1})",
        f"    whole = head + ((length - head) & {-width})",
        "    j = lane",
        "    while j < head:", *one_by_one,
        f"    j = head + lane * {width}",
        f"    while j + {w.ahead - 1} * apart < whole:",
        *indented([*ahead, *taken, f"j += {w.ahead} * apart"], 2),
        "    while j < whole:",
        f"        v0 = load_vector(x, begin + j, {width})",
        *indented([*w.take(0, *_places("v0", width, "g * n + j")), "j += apart"], 2),
        "    j = whole + lane",
        "    while j < length:", *one_by_one,
        "    g += splits * abreast"]
    if states > 1:
        pairs = [(2, 3), (0, 1), (0, 2)] if states == 4 else [(0, 1)]
        body += [f"if {w.ahead - 1} * apart < n:", *(f"    {line}" for k, other in pairs for line in w.merge(k, w.joined(other)))]
    body += [*w.merge_row(),
             "if row < m and inside == 0:",
             "    if splits == 1:", *indented(w.result("row"), 2),
             "    else:", *indented(w.put("part", 0, "row * splits + cuda.blockIdx.y"), 2)]
    head = [f"def {w.name}_rows_{w.dtype}({', '.join(names)}):",
            f'    """out[i] = {w.name} of row i of x, {w.dtype}. One pass over x."""']
    return [*head, *indented(body, 1)], ["T~", *out_words, *part_words, *["q"] * 11]


def columns(w):
    """(lines, signature) of the kernel for the middle of (outer, n, inner), which has outer times inner columns.

    The first two dimensions have the steps ``far`` and ``step``. A block takes a tile of columns, up to 4 a thread, with
    2^lane_bits threads side by side and the others in further rows, of which blocks with another y take others, ``height`` of
    them. ``together``: a thread's columns are neighbours at an aligned address; else they are 2^lane_bits apart.
    """
    (parts, part_words), (outs, out_words), width = w.arrays("part"), w.outputs(), w.how.across(SIZES[w.dtype])
    names = ["x", *outs, *parts, "columns", "n", "inner", "far", "step", "lane_bits", "height", "together"]
    each = range(width)

    def row(r, place):
        single = ", ".join(f"load(x, p{k} + row)" for k in each)
        return [f"row = ({place}) * step", f"v{r} = load_vector(x, p0 + row, {width}) if together else ({single},)"]

    loads = [line for r in range(UNROLL) for line in row(r, f"i + {r} * ys")]
    places = [f"i + {r} * ys" for r in range(UNROLL)]
    takes = [line for k in each for line in w.take(k, [f"v{r}[{k}]" for r in range(UNROLL)], places)]
    merges = []
    for distance in (16, 8, 4, 2, 1):
        merges += [f"if lanes <= {distance}:",
                   *(f"    {line}" for k in each for line in w.merge(k, w.exchanged(k, "xor", distance)))]
    body = [
        "t, splits, lanes = cuda.threadIdx.x, cuda.gridDim.y, 1 << lane_bits",
        "lane, y, ys = t & (lanes - 1), t >> lane_bits, cuda.blockDim.x >> lane_bits",
        f"left = cuda.blockIdx.x * lanes * {width}",
        f"own, apart = (lane * {width}, 1) if together else (lane, lanes)",
        "# threads beyond the last column repeat it, and write nothing",
        *(f"p{k} = min(left + own + {k} * apart, columns - ({width - k} if together else 1))" for k in each),
        "if inner < columns:",
        *(f"    p{k} += np.int64(np.uint32(p{k}) // np.uint32(inner)) * (far - inner)" for k in each),
        *(line for k in each for line in w.start(k, f"load(x, p{k})")),
        "i, end = cuda.blockIdx.y * height + y, min(n, (cuda.blockIdx.y + 1) * height)",
        f"while i + {UNROLL - 1} * ys < end:",
        *indented([*loads, *takes, f"i += {UNROLL} * ys"], 1),
        "while i < end:",
        *indented([*row(0, "i"), *(line for k in each for line in w.take(k, [f"v0[{k}]"], ["i"])), "i += ys"], 1),
        *merges,
        *w.shared(THREADS * width),
        "sets, mine = (ys, y) if lanes >= 32 else (cuda.blockDim.x >> 5, t >> 5)",
        "if lanes >= 32 or t & 31 < lanes:",
        f"    at = mine * lanes * {width} + own",
        *(f"    {line}" for k in each for line in w.put("shared", k, f"at + {k} * apart")),
        "cuda.syncthreads()",
        f"while t < min(lanes * {width}, columns - left):",
        *indented([
            *w.get("shared", 0, "t"),
            "for k in range(1, sets):", *indented(w.merge(0, w.got("shared", f"k * lanes * {width} + t")), 1),
            "if splits == 1:", *indented(w.result("left + t"), 1),
            "else:", *indented(w.put("part", 0, "(left + t) * splits + cuda.blockIdx.y"), 1),
            "t += cuda.blockDim.x"], 1)]
    head = [f"def {w.name}_columns_{w.dtype}({', '.join(names)}):",
            f'    """out[o, c] = {w.name} of x[o, :, c], {w.dtype}. One pass over x."""']
    return [*head, *indented(body, 1)], ["T~", *out_words, *part_words, *["q"] * 8]


def join(w):
    """(lines, signature) of the kernel that merges the parts [i, :] of (m, splits); ``x`` only says of which dtype they are."""
    (parts, part_words), (outs, out_words) = w.arrays("part"), w.outputs()
    names = ["x", *outs, *parts, "m", "splits", "row_bits"]
    body = [
        "t, warps = cuda.threadIdx.x, cuda.blockDim.x >> 5",
        "row = cuda.blockIdx.x * np.int64(cuda.blockDim.x >> row_bits) + (t >> row_bits)",
        "inside = t & ((1 << row_bits) - 1)",
        "base = min(row, m - 1) * splits",
        *w.get("part", 0, "base + inside"),
        "j = inside + (1 << row_bits)",
        "while j < splits:",
        *indented([*w.merge(0, w.got("part", "base + j")), "j += 1 << row_bits"], 1),
        *w.merge_row(),
        "if row < m and inside == 0:", *indented(w.result("row"), 1)]
    head = [f"def {w.name}_join_{w.dtype}({', '.join(names)}):", f'    """out[i] = {w.name} of the parts [i, :], {w.dtype}."""']
    return [*head, *indented(body, 1)], ["T~", *out_words, *part_words, "q", "q", "q"]
