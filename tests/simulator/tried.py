"""What the kernels of this process were tried with: in several blocks, and in blocks of which one has less to do than another.

tests/conftest.py joins what all processes of the suite tried, and asks it of every kernel that the package declares.
"""
import collections
import contextlib
import importlib
import re
import threading

from numtorch.kernels import _cuda

from numtorch._cuda_build import families

LAUNCHED, SEVERAL, UNEVEN = "launched", "launched in several blocks", "launched in blocks of which one has less to do"
MOST = 40                                       # launches of a kernel whose accesses are counted, until one is uneven
found = collections.defaultdict(set)            # name of a kernel -> what was done
_counted = collections.Counter()                # name of a kernel -> launches that were counted
_accesses, _watching = collections.Counter(), [False]       # block -> accesses of the launch that runs; whether it is counted
_one = threading.RLock()

# (kernels, what they need not be tried with, why), a regular expression each
EXCEPTIONS = (
    (r"_cuda_masks\.running_sum|amp_cuda\.update_scale_cuda|random_cuda\.set_state", SEVERAL, "it is one block by design"),
    (r"_cuda_rates\.\w+", SEVERAL, "a block has 256 parameters"),
    (r"(softmax|norm|loss)_cuda\.\w+_(row|long)(_backward)?_\d", UNEVEN, "a block has a row, and all rows are alike"),
    (r"batch_norm_cuda\.finish_\w+|_cuda_conv_direct\.channel_sum_\d", UNEVEN, "a block has a channel, and all are alike"),
    (r"batch_norm_cuda\.channel_(moments|sums)_\d", UNEVEN, "the blocks of a channel share its images evenly"),
    (r"linalg_cuda\.distances_gradient|embedding_cuda\.renormalize", UNEVEN, "a block, or warp, has a row, and all are alike"))


@contextlib.contextmanager
def launch(name, blocks):
    """Notes a launch; while it runs, arrays that go through ``watched`` count who accesses them."""
    with _one:
        _watching[0] = blocks > 1 and UNEVEN not in found[name] and _counted[name] < MOST
        _accesses.clear()
        try:
            yield
            found[name] |= {LAUNCHED, SEVERAL} if blocks > 1 else {LAUNCHED}
            if _watching[0]:
                _counted[name] += 1
                if len(_accesses) < blocks or min(_accesses.values()) < max(_accesses.values()):
                    found[name].add(UNEVEN)
        finally:
            _watching[0] = False


def watched(array, cuda):
    """``array``, an argument of a kernel, of which each access is counted for the block that makes it, where one asks for it."""
    if _watching[0]:
        flat = getattr(array, "flat", array)
        flat.__class__ = _counting(type(flat), cuda)
    return array


def _counting(kind, cuda, cache={}):  # noqa: B006 - one class for each class of arrays
    made = cache.get(kind)
    if made is None:
        def load(self, i):
            _accesses[cuda.blockIdx] += 1
            return kind.load(self, i)

        def store(self, i, value):
            _accesses[cuda.blockIdx] += 1
            kind.store(self, i, value)

        def load_vector(self, i, n):
            _accesses[cuda.blockIdx] += 1
            return kind.load_vector(self, i, n)

        own = {"__slots__": (), "load": load, "store": store, "load_vector": load_vector}
        if kind.load is kind.__getitem__:
            own.update(__getitem__=load)
        if kind.store is kind.__setitem__:
            own.update(__setitem__=store)
        made = cache[kind] = type("Counting" + kind.__name__, (kind,), own)
        cache[made] = made
    return made


def missing(tried):
    """Kernel -> what it was never tried with, of those that the package declares; and the exceptions that no kernel needs."""
    for name in families():
        importlib.import_module(f"numtorch.kernels.{name}")
    lacking, used = {}, set()
    for name in sorted(name for name, kernel in _cuda.KERNELS.items() if kernel.source is None):
        for wanted in (LAUNCHED, SEVERAL, UNEVEN):
            if wanted not in tried.get(name, ()):
                excuse = next((e for e in EXCEPTIONS if e[1] == wanted and re.fullmatch(e[0], name)), None)
                if excuse is None:
                    lacking[name] = wanted
                else:
                    used.add(excuse)
                break
    return lacking | {pattern: f"excused from being {wanted}, which no kernel needs" for pattern, wanted, why in EXCEPTIONS
                      if (pattern, wanted, why) not in used}
