"""Triangular systems and distances between points on a GPU; the kernels of linalg.py with the same arguments."""
import math

from ._cuda import COMPLEX, REAL, WARP, A, blocks, cuda, device_kernel, load, store
from ._cuda_blocks import larger
from ._cuda_gemm import divided

EDGE = 32               # rows and columns of a tile of a triangular system
THREADS = 256
WARPS = THREADS // WARP
OWN = EDGE // WARPS     # rows of a tile that a thread has
SIDE, DEPTH = 32, 16    # of the tiles of distances: points each way, coordinates at a time
PITCH = SIDE + 1
ZERO, ONE, TWO, GREATEST, OTHER = range(5)      # kinds of norms


# ---- triangular systems ------------------------------------------------------------------------------------------------

@device_kernel("T* T* T* q q q q", T=(*REAL, *COMPLEX), threads=THREADS, resident=2)
def substitute(a, b, out, n, columns, upper, unit):
    """out[s] = a[s]^-1 b[s] for triangular a (n, n): a block for 32 columns of one system, 32 unknowns at a time.

    What is known of a tile's 32 right sides is taken away by tiles of a and of the solution, then the tile itself is solved, a
    row after each barrier. n^2 columns / 2 multiplications; a is read once for each 32 columns. Unknowns are numbered in the
    order in which they are found: for an upper triangle from the last on.
    """
    factors, found = cuda.shared.array((EDGE, EDGE), A), cuda.shared.array((EDGE, EDGE), A)
    rest = cuda.local.array(OWN, A)
    system, group = divided(cuda.blockIdx.x, (columns + EDGE - 1) // EDGE)
    lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
    column = group * EDGE + lane
    turn, step = (n - 1, -1) if upper else (0, 1)       # unknown i is that of row turn + step * i
    first_a, first_b = system * n * n, system * n * columns + column
    inside = column < columns
    for first in range(0, n, EDGE):
        for l in range(OWN):
            i = first + warp + l * WARPS
            rest[l] = load(b, first_b + (turn + step * i) * columns) if inside and i < n else A(0)
        for before in range(0, first + EDGE, EDGE):
            for l in range(OWN):
                i, j = first + warp + l * WARPS, before + lane
                k = before + warp + l * WARPS
                factors[warp + l * WARPS, lane] = load(a, first_a + (turn + step * i) * n + turn + step * j) \
                    if i < n and j < n and (i > j or i == j and not unit) else A(1) if i == j else A(0)
                if before < first:
                    found[warp + l * WARPS, lane] = load(out, first_b + (turn + step * k) * columns) if inside else A(0)
            cuda.syncthreads()
            if before < first:
                for k in range(EDGE):
                    for l in range(OWN):
                        rest[l] -= factors[warp + l * WARPS, k] * found[k, lane]
                cuda.syncthreads()
        for k in range(EDGE):
            for l in range(OWN):
                if warp + l * WARPS == k:
                    rest[l] = rest[l] / factors[k, k]
                    found[k, lane] = rest[l]
            cuda.syncthreads()
            for l in range(OWN):
                if warp + l * WARPS > k:
                    rest[l] -= factors[warp + l * WARPS, k] * found[k, lane]
        for l in range(OWN):
            i = first + warp + l * WARPS
            if inside and i < n:
                store(out, first_b + (turn + step * i) * columns, rest[l])


def solve_triangular(a, b, upper, unit, out):
    """out = a^-1 b by substitution; a (batch, n, n), of which only one triangle is read, b and out (batch, n, k)."""
    batch, n, k = b.shape
    substitute.launch(blocks(k, EDGE) * batch, THREADS, a, b, out, n, k, upper, unit)


# ---- distances ---------------------------------------------------------------------------------------------------------

def _kind(p):
    return {0.0: ZERO, 1.0: ONE, 2.0: TWO, math.inf: GREATEST}.get(p, OTHER)


def _gather(total, apart, kind, p):
    """What one coordinate, in which two points are ``apart``, adds to their distance before the root is taken."""
    if kind == TWO:
        return total + apart * apart
    if kind == ONE:
        return total + abs(apart)
    if kind == GREATEST:
        return larger(total, abs(apart))
    if kind == ZERO:
        return total + (A(1) if apart != A(0) else A(0))
    return total + abs(apart) ** p


@device_kernel("T* T* T* q q q q A", T=REAL, threads=THREADS)
def distances(x, y, out, m, n, size, kind, p):
    """out[s, i, j] = the p-norm of x[s, i] - y[s, j]: a block for 32 x 32 pairs, 4 of them a thread, 16 coordinates at a time.

    Each point is read once for each tile that it takes part in; m n size steps for each s.
    """
    here, there = cuda.shared.array((DEPTH, PITCH), A), cuda.shared.array((DEPTH, PITCH), A)
    rest, tile_column = divided(cuda.blockIdx.x, (n + SIDE - 1) // SIDE)
    s, tile_row = divided(rest, (m + SIDE - 1) // SIDE)
    thread = cuda.threadIdx.x
    i, j = thread // DEPTH, thread % DEPTH
    row, column = tile_row * SIDE, tile_column * SIDE
    t00, t01, t10, t11 = A(0), A(0), A(0), A(0)
    for first in range(0, size, DEPTH):
        for half in range(2):       # a thread reads coordinate j of points i and i + 16 on either side
            point, d = i + half * DEPTH, first + j
            here[j, point] = load(x, (s * m + row + point) * size + d) if row + point < m and d < size else A(0)
            there[j, point] = load(y, (s * n + column + point) * size + d) if column + point < n and d < size else A(0)
        cuda.syncthreads()
        for d in range(DEPTH):
            x0, x1, y0, y1 = here[d, i], here[d, i + DEPTH], there[d, j], there[d, j + DEPTH]
            t00 = _gather(t00, x0 - y0, kind, p)
            t01 = _gather(t01, x0 - y1, kind, p)
            t10 = _gather(t10, x1 - y0, kind, p)
            t11 = _gather(t11, x1 - y1, kind, p)
        cuda.syncthreads()
    _finish(out, (s * m + row + i) * n + column + j, t00, row + i < m and column + j < n, kind, p)
    _finish(out, (s * m + row + i) * n + column + j + DEPTH, t01, row + i < m and column + j + DEPTH < n, kind, p)
    _finish(out, (s * m + row + i + DEPTH) * n + column + j, t10, row + i + DEPTH < m and column + j < n, kind, p)
    _finish(out, (s * m + row + i + DEPTH) * n + column + j + DEPTH, t11, row + i + DEPTH < m and column + j + DEPTH < n, kind, p)


def _finish(out, at, total, there, kind, p):
    """Writes the root of a sum of powers."""
    if there:
        if kind == TWO:
            total = A(math.sqrt(total))
        elif kind == OTHER:
            total = total ** (A(1) / p)
        store(out, at, total)


def cdist(x, y, p, out):
    """out[s, i, j] = the p-norm of x[s, i] - y[s, j]; x (batch, m, d), y (batch, n, d), out (batch, m, n)."""
    batch, m, n = out.shape
    distances.launch(blocks(m, SIDE) * blocks(n, SIDE) * batch, THREADS, x, y, out, m, n, x.shape[2], _kind(p), p)


@device_kernel("T* T* T* T* T* q q q q q A", T=REAL, threads=THREADS)
def distances_gradient(x, y, g, far, gx, m, n, size, kind, lanes, p):
    """gx[s, i] = sum over j of g[s, i, j] d far[s, i, j] / d x[s, i]: a block for each point of x.

    ``lanes``, a power of two, threads have neighbouring coordinates; the others share the points of y, whose parts are added up
    in pairs. y is read once for each point of x.
    """
    partial = cuda.shared.array(THREADS, A)
    thread, point = cuda.threadIdx.x, cuda.blockIdx.x
    matrix, _ = divided(point, m)
    lane, group, groups = thread & lanes - 1, thread // lanes, THREADS // lanes
    for first in range(0, size, lanes):
        d, total = first + lane, A(0)
        if d < size:
            own = load(x, point * size + d)
            j = group
            while j < n:
                distance = load(far, point * n + j)
                if distance != A(0):
                    apart = own - load(y, (matrix * n + j) * size + d)
                    total += load(g, point * n + j) * _slope(apart, distance, kind, p)
                j += groups
        partial[thread] = total
        cuda.syncthreads()
        half = THREADS // 2
        while half >= lanes:
            if thread < half:
                partial[thread] += partial[thread + half]
            cuda.syncthreads()
            half //= 2
        if group == 0 and d < size:
            store(gx, point * size + d, partial[thread])


def _slope(apart, distance, kind, p):
    """The derivative of a p-norm with respect to a coordinate: sign |apart|^(p-1) / distance^(p-1); p > 0."""
    if kind == TWO:
        return apart / distance
    sign = A(1) if apart > A(0) else A(-1) if apart < A(0) else A(0)
    if kind == ONE:
        return sign
    if kind == GREATEST:
        return sign if abs(apart) == distance else A(0)
    return sign * (abs(apart) / distance) ** (p - A(1)) if apart != A(0) else A(0)


def cdist_backward(x, y, g, out, p, gx):
    """gx[s, i] = sum over j of g[s, i, j] d out[s, i, j] / d x[s, i]; shapes as in cdist. Equal points get 0; p > 0."""
    batch, m, n = out.shape
    if gx.size:
        lanes = min(WARP, 1 << (x.shape[2] - 1).bit_length())
        distances_gradient.launch(batch * m, THREADS, x, y, g, out, gx, m, n, x.shape[2], _kind(p), lanes, p)
