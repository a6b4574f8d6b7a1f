"""``mma`` of kernels/_cuda.py in simulated kernels: copies that are under way until they are waited for, and tensor cores."""
import ml_dtypes
import numpy as np

from .memory import Misaligned, View
from .threads import FULL

_HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def _signed(word):
    """32 bits as the number that an int32 has."""
    return int(word) - (1 << 32) if int(word) >= 1 << 31 else int(word)


class TensorCores:
    """The names below ``mma``; every operation but the copies is one of a whole warp."""

    def __init__(self, cuda):
        self.cuda = cuda

    # ---- copies ----------------------------------------------------------------------------------------------------------

    def _copies(self):
        """The calling thread's copies: those of no group yet, and the groups that are under way."""
        return self.cuda.block.arrays.setdefault(("copies", self.cuda.first + self.cuda.laneid), ([], []))

    def copy(self, shared, index, pointer, source, inside):
        words = [0] * 4
        if inside:
            flat, at = (pointer.flat, pointer.start + source) if isinstance(pointer, View) else (pointer, source)
            count = 16 // flat.dtype.itemsize
            flat.load_vector(at, count)         # whether they are there, and aligned
            words = flat.data[at:at + count].view(np.int32).tolist()
        if index % 4:
            raise Misaligned(f"a copy of 16 bytes to word {index} of {shared.name}")
        self._copies()[0].append((shared, index, words))

    def commit(self):
        begun, groups = self._copies()
        groups.append(begun[:])
        begun.clear()

    def wait(self, groups):
        under_way = self._copies()[1]
        while len(under_way) > groups:
            for shared, index, words in under_way.pop(0):
                for k, word in enumerate(words):
                    shared.store(index + k, word)

    # ---- fragments -------------------------------------------------------------------------------------------------------

    def _rows(self, name, shared, index):
        """Where the 32 rows of four matrices begin, of which the lanes name one each."""
        if index % 4:
            raise Misaligned(f"{name} of a row at word {index} of {shared.name}")
        return self.cuda._exchange(name, FULL, index)

    def matrices(self, shared, index):
        """Lane l: words l % 4 of row l // 4 of each matrix of 8 rows of 16 bytes."""
        rows, lane = self._rows("matrices", shared, index), self.cuda.laneid
        return tuple([shared.load(rows[q * 8 + lane // 4] + lane % 4) for q in range(4)])

    def matrices_transposed(self, shared, index):
        """Lane l: of each matrix the halves in column l // 4 of rows 2 * (l % 4) and the next."""
        rows, lane = self._rows("matrices_transposed", shared, index), self.cuda.laneid
        found = []
        for q in range(4):
            low, high = (int(shared.load(rows[q * 8 + lane % 4 * 2 + r] + lane // 8)) >> lane // 4 % 2 * 16 & 0xFFFF for r in (0, 1))
            found.append(np.int32(_signed(low | high << 16)))
        return tuple(found)

    def rounded(self, word):
        """The nearest float32 with 10 bits of fraction, ties away from 0."""
        bits = int(word) & 0xFFFFFFFF
        if bits & 0x7F800000 != 0x7F800000:
            bits = bits + 0x1000 & 0xFFFFFFFF
        return np.int32(_signed(bits & 0xFFFFE000))

    def _product(self, kind, registers):
        """The 16 x 8 sums of all lanes, worked out by the first of them that gets here."""
        values = self.cuda._exchange(kind, FULL, registers)
        found = values.get("sums")
        if found is None:
            found = values["sums"] = _multiplied(kind, values)
        row, column = self.cuda.laneid // 4, self.cuda.laneid % 4 * 2
        return found[row, column], found[row, column + 1], found[row + 8, column], found[row + 8, column + 1]

    def float16(self, *registers):
        return self._product("float16", registers)

    def bfloat16(self, *registers):
        return self._product("bfloat16", registers)

    def tf32(self, *registers):
        return self._product("tf32", registers)


def _numbers(kind, word):
    """The factors in a word: two halves, or one float32 without its last 13 bits."""
    if kind == "tf32":
        return np.array([int(word) & 0xFFFFE000], np.uint32).view(np.float32)
    return np.array([int(word) & 0xFFFFFFFF], np.uint32).view(_HALVES[kind]).astype(np.float32)


def _multiplied(kind, values):
    """a b + c from four sums, four words of a and two of b of each lane."""
    per = 1 if kind == "tf32" else 2            # numbers of a word
    a, b, c = np.zeros((16, 8 * per), np.float32), np.zeros((8 * per, 8), np.float32), np.zeros((16, 8), np.float32)
    for lane, registers in list(values.items()):
        g, t = divmod(lane, 4)
        for i in range(4):
            c[g + i // 2 * 8, t * 2 + i % 2] = registers[i]
            first = t * per + i // 2 * 4 * per
            a[g + i % 2 * 8, first:first + per] = _numbers(kind, registers[4 + i])
        for i in range(2):
            first = t * per + i * 4 * per
            b[first:first + per, g] = _numbers(kind, registers[8 + i])
    return c + a @ b
