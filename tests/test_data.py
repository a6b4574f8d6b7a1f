"""utils.data: datasets, samplers, collate and the DataLoader, with and without workers, against torch where it is
installed."""
import collections
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import numtorch
from numtorch import kernels as K
from numtorch.utils import data
from numtorch.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)
from numtorch.utils.data._worker import numpy_seed

X = np.random.RandomState(0).rand(103, 5).astype(np.float32)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


class Squares(Dataset):
    """Items that are not rows of tensors, so that no shortcut applies."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return i * i


class Share(IterableDataset):
    """0 .. n-1; in a worker every num_workers-th."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        return iter(range(self.n)) if info is None else iter(range(info.id, self.n, info.num_workers))

    def __len__(self):
        return self.n


def tensors(n=103):
    return TensorDataset(numtorch.from_numpy(X[:n].copy()), numtorch.arange(n))


def as_lists(batches):
    return [[t.tolist() for t in b] if isinstance(b, (list, tuple)) else b.tolist() if hasattr(b, "tolist") else b
            for b in batches]


def no_workers_left():
    return not [p for p in multiprocessing.active_children() if p.is_alive()]


# ---- datasets ----------------------------------------------------------------------------------------------------------

def test_tensor_dataset():
    """Items are rows of all tensors; unequal lengths are refused."""
    rows = tensors(4)
    assert len(rows) == 4
    assert rows[2][0].tolist() == X[2].tolist() and rows[2][1].item() == 2
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(numtorch.zeros(2), numtorch.zeros(3))


def test_concat_dataset():
    """Indices run through all parts, also from the end."""
    both = ConcatDataset([range(3), range(10, 12)])
    assert [both[i] for i in range(-5, 5)] == [0, 1, 2, 10, 11] * 2
    assert len(Squares(2) + Squares(3)) == 5 and both.cumulative_sizes == [3, 5]
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length"):
        both[-6]
    with pytest.raises(AssertionError, match="datasets should not be an empty iterable"):
        ConcatDataset([])
    with pytest.raises(AssertionError, match="ConcatDataset does not support IterableDataset"):
        ConcatDataset([Share(2)])


def test_chain_dataset():
    """Iterables follow each other; others are refused when it is their turn."""
    chain = Share(2) + Share(3)
    assert list(chain) == [0, 1, 0, 1, 2] and len(chain) == 5
    with pytest.raises(AssertionError, match="ChainDataset only supports IterableDataset"):
        list(ChainDataset([Squares(2)]))


def test_stack_dataset():
    """Tuples or dicts of items, by index and by the batch; nested ``__getitems__`` is used and checked."""
    assert StackDataset(range(3), Squares(3))[2] == (2, 4)
    named = StackDataset(a=range(3), b=Squares(3))
    assert named[2] == {"a": 2, "b": 4} and len(named) == 3
    assert named.__getitems__([0, 2]) == [{"a": 0, "b": 0}, {"a": 2, "b": 4}]
    assert StackDataset(Subset(Squares(5), [4, 3]), range(2)).__getitems__([1, 0]) == [(9, 1), (16, 0)]

    class Short(Squares):
        def __getitems__(self, indices):
            return []
    with pytest.raises(ValueError, match="Nested dataset's output size mismatch. Expected 2, got 0"):
        StackDataset(Short(3)).__getitems__([0, 1])
    for args, kwargs, message in (((), {}, "At least one dataset should be passed"),
                                  ((range(2), range(3)), {}, "Size mismatch between datasets"),
                                  ((range(2),), {"a": range(2)}, "Supported either ``tuple``")):
        with pytest.raises(ValueError, match=message):
            StackDataset(*args, **kwargs)


def test_subset():
    """Items at indices, one by one and by lists; a subclass must override both ways of access."""
    part = Subset(Squares(9), [3, 1, 4])
    assert [part[i] for i in range(3)] == [9, 1, 16] and part.__getitems__([2, 0]) == [16, 9] and len(part) == 3

    class Half(Subset):
        def __getitem__(self, i):
            return 0
    with pytest.raises(NotImplementedError, match="Half overrides __getitem__ but not __getitems__"):
        Half(Squares(3), [0])


def test_dataset_base_classes():
    """A Dataset without __getitem__ says so; an IterableDataset without __iter__ cannot be made; both take type arguments."""
    with pytest.raises(NotImplementedError, match="Subclasses of Dataset should implement __getitem__"):
        Dataset()[0]
    with pytest.raises(TypeError, match="abstract"):
        IterableDataset()
    with pytest.raises(NotImplementedError):
        iter(Sampler())
    assert issubclass(Dataset[int].__origin__, Dataset)


def test_random_split(torch):
    """Parts do not overlap, cover everything, and hold the indices that torch chooses; fractions are rounded as there."""
    for lengths in ([3, 5, 2], [0.5, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25], [10]):
        numtorch.manual_seed(3)
        torch.manual_seed(3)
        parts = random_split(range(10), lengths)
        assert [p.indices for p in parts] == [p.indices for p in torch.utils.data.random_split(range(10), lengths)]
        assert sorted(i for p in parts for i in p.indices) == list(range(10))
    first, second = (random_split(range(9), [4, 5], numtorch.Generator().manual_seed(1))[0].indices for _ in range(2))
    assert first == second
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset"):
        random_split(range(3), [1, 1])
    with pytest.raises(ValueError, match="Fraction at index 1 is not between 0 and 1"):
        random_split(range(3), [0.5, -0.5, 1.0])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(range(1), [0.6, 0.4])


# ---- samplers ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("generator", (False, True))
@pytest.mark.parametrize("replacement", (False, True))
@pytest.mark.parametrize("num_samples", (None, 5, 40, 103, 250))
def test_random_sampler_equals_torch(torch, num_samples, replacement, generator):
    """The order, and what is left of the generator, with and without replacement, for fewer and more samples than items."""
    numtorch.manual_seed(1)
    torch.manual_seed(1)
    own = [lib.Generator().manual_seed(8) if generator else None for lib in (numtorch, torch)]
    got = list(RandomSampler(range(103), replacement, num_samples, own[0]))
    assert got == list(torch.utils.data.RandomSampler(range(103), replacement, num_samples, own[1]))
    assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())
    if generator:
        assert np.array_equal(own[0].get_state().numpy(), own[1].get_state().numpy())


def test_other_samplers_equal_torch(torch):
    """Subset, weighted (both ways, weights as list, array, tensor) and distributed samplers."""
    weights = X[:50, 0].tolist()
    numtorch.manual_seed(1)
    torch.manual_seed(1)
    assert list(SubsetRandomSampler("abcdef")) == list(torch.utils.data.SubsetRandomSampler("abcdef"))
    for replacement in (True, False):
        want = list(torch.utils.data.WeightedRandomSampler(weights, 20, replacement))
        assert list(WeightedRandomSampler(weights, 20, replacement)) == want
    for kind in (np.array, numtorch.tensor):
        assert len(list(WeightedRandomSampler(kind(weights), 20))) == 20
    for n in (1, 3, 7, 10):
        for shuffle in (False, True):
            for drop_last in (False, True):
                for rank in range(3):
                    ours = DistributedSampler(range(n), 3, rank, shuffle, 5, drop_last)
                    theirs = torch.utils.data.DistributedSampler(range(n), 3, rank, shuffle, 5, drop_last)
                    ours.set_epoch(2)
                    theirs.set_epoch(2)
                    assert list(ours) == list(theirs) and len(ours) == len(theirs)


def test_batch_sampler():
    """Full batches, and the rest unless it is dropped; lengths agree; any iterable serves as sampler."""
    assert list(BatchSampler(SequentialSampler(range(7)), 3, False)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(BatchSampler(range(7), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    assert len(BatchSampler(range(7), 3, False)) == 3 and len(BatchSampler(range(7), 3, True)) == 2
    assert list(BatchSampler(iter([]), 3, False)) == []


def test_sampler_errors():
    """Arguments out of range are refused in torch's words."""
    for call, error, message in (
            (lambda: RandomSampler(range(3), replacement=1), TypeError,
             "replacement should be a boolean value, but got replacement=1"),
            (lambda: RandomSampler(range(3), num_samples=0), ValueError,
             "num_samples should be a positive integer value, but got num_samples=0"),
            (lambda: RandomSampler([]), ValueError, "num_samples should be a positive integer value, but got num_samples=0"),
            (lambda: WeightedRandomSampler([1.0], True), ValueError, "num_samples should be a positive integer"),
            (lambda: WeightedRandomSampler([1.0], 1, 1), ValueError, "replacement should be a boolean value"),
            (lambda: WeightedRandomSampler([[1.0]], 1), ValueError,
             r"weights should be a 1d sequence but given weights have shape \(1, 1\)"),
            (lambda: list(WeightedRandomSampler([1.0], 2, False)), RuntimeError, "cannot sample n_sample > prob_dist.size"),
            (lambda: BatchSampler(range(3), 0, False), ValueError,
             "batch_size should be a positive integer value, but got batch_size=0"),
            (lambda: BatchSampler(range(3), 2, 1), ValueError, "drop_last should be a boolean value, but got drop_last=1"),
            (lambda: DistributedSampler(range(3), 2, 2), ValueError,
             r"Invalid rank 2, rank should be in the interval \[0, 1\]"),
            (lambda: DistributedSampler(range(3)), ValueError, "Default process group has not been initialized")):
        with pytest.raises(error, match=message):
            call()


# ---- collate -----------------------------------------------------------------------------------------------------------

Point = collections.namedtuple("Point", "x y")


def test_default_collate_walks_containers():
    """Tensors, arrays and numbers are stacked within tuples, lists, dicts and named tuples; strings stay."""
    item = {"a": numtorch.ones(2), "b": (1, 2.5, "s"), "c": [np.arange(3), np.float32(1)], "d": Point(1, True)}
    batch = default_collate([item, item])
    assert batch["a"].tolist() == [[1, 1], [1, 1]]
    assert batch["b"][0].dtype is numtorch.int64 and batch["b"][1].dtype is numtorch.float64
    assert batch["b"][2] == ("s", "s")
    assert batch["c"][0].shape == (2, 3) and batch["c"][1].dtype is numtorch.float32
    assert isinstance(batch["d"], Point) and batch["d"].y.dtype is numtorch.bool
    assert default_collate([b"x", b"y"]) == [b"x", b"y"]
    assert default_collate([np.float64(2), np.float64(3)]).dtype is numtorch.float64
    assert default_collate([numtorch.tensor(1), numtorch.tensor(2)]).tolist() == [1, 2]


def test_default_collate_keeps_the_classes_of_containers():
    """A mutable mapping or sequence of a class of its own comes back in that class."""
    kept = collections.OrderedDict(a=1)
    assert type(default_collate([kept, kept])) is collections.OrderedDict
    counter = collections.defaultdict(list, a=1)
    assert default_collate([counter, counter]).default_factory is list
    assert type(default_collate([collections.UserList([1]), collections.UserList([2])])) is collections.UserList


def test_default_collate_stacks_with_gradient():
    """Tensors that require a gradient are stacked on the tape."""
    w = numtorch.ones(2, requires_grad=True)
    default_collate([w * 2, w]).sum().backward()
    assert w.grad.tolist() == [3, 3]


def test_default_collate_errors():
    """Unequal shapes or lengths, and things that are not data."""
    for batch, error, message in (
            ([numtorch.ones(3), numtorch.ones(4)], RuntimeError,
             r"stack expects each tensor to be equal size, but got \[3\] at entry 0 and \[4\] at entry 1"),
            ([[1, 2], [1]], RuntimeError, "each element in list of batch should be of equal size"),
            ([object()], TypeError,
             "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class 'object'>"),
            ([None], TypeError, "found <class 'NoneType'>"),
            ([np.array(["a"])], TypeError, "found <U1")):
        with pytest.raises(error, match=message):
            default_collate(batch)


def test_default_convert():
    """Arrays become tensors on the same memory; tuples become lists; the rest is left alone."""
    array = np.zeros(2)
    found = default_convert({"a": array, "b": (np.float32(1), "s", 3), "p": Point(array, 1)})
    assert isinstance(found["a"], numtorch.Tensor) and found["a"].data_ptr() == array.ctypes.data
    assert isinstance(found["b"], list) and found["b"][1:] == ["s", 3]
    assert isinstance(found["p"], Point)
    text = np.array(["a"])
    assert default_convert(text) is text


# ---- the DataLoader ----------------------------------------------------------------------------------------------------

LOADERS = [dict(), dict(shuffle=True), dict(shuffle=True, drop_last=True), dict(batch_size=None), dict(batch_size=1000)]


@pytest.mark.parametrize("workers", (0, 2))
@pytest.mark.parametrize("kwargs", LOADERS, ids=str)
def test_batches_equal_torch(torch, kwargs, workers):
    """Three epochs of batches, and the generator's state after each, are torch's from the same seed."""
    kwargs = {"batch_size": 10, **kwargs, "num_workers": workers}
    loaders = [DataLoader(tensors(), **kwargs),
               torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(X), torch.arange(103)), **kwargs)]
    numtorch.manual_seed(7)
    torch.manual_seed(7)
    assert len(loaders[0]) == len(loaders[1])
    for _ in range(3):
        assert as_lists(loaders[0]) == as_lists(loaders[1])
        assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())


@pytest.mark.parametrize("workers", (0, 2))
def test_generator_equals_torch(torch, workers):
    """With a generator of its own a loader leaves the global one alone, and both end in torch's state."""
    own = [lib.Generator().manual_seed(3) for lib in (numtorch, torch)]
    numtorch.manual_seed(7)
    torch.manual_seed(7)
    ours = DataLoader(range(20), 3, shuffle=True, num_workers=workers, generator=own[0])
    theirs = torch.utils.data.DataLoader(range(20), 3, shuffle=True, num_workers=workers, generator=own[1])
    for _ in range(2):
        assert as_lists(ours) == as_lists(theirs)
    assert np.array_equal(own[0].get_state().numpy(), own[1].get_state().numpy())
    assert np.array_equal(numtorch.get_rng_state().numpy(), torch.get_rng_state().numpy())


def test_rows_shortcut_gives_what_item_by_item_gives():
    """A TensorDataset, and nested Subsets of one, batch as the same items without the shortcut."""
    rows = tensors(20)

    class Plain(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, i):
            return rows[i]
    nested = Subset(Subset(rows, list(range(19, -1, -1))), [3, 1, 7, 7])
    assert as_lists(DataLoader(rows, 6)) == as_lists(DataLoader(Plain(), 6))
    plain = Subset(Subset(Plain(), list(range(19, -1, -1))), [3, 1, 7, 7])
    assert as_lists(DataLoader(nested, 3)) == as_lists(DataLoader(plain, 3))
    batches = [[-1, 0], [5]]
    assert as_lists(DataLoader(rows, batch_sampler=batches)) == as_lists(DataLoader(Plain(), batch_sampler=batches))
    with pytest.raises(IndexError, match="out of bounds for dimension 0 with size 20|out of range"):
        list(DataLoader(rows, batch_sampler=[[20]]))


def test_rows_shortcut_leaves_gradients_alone():
    """Rows of a tensor that requires a gradient stay on the tape."""
    w = numtorch.ones(4, 2, requires_grad=True)
    for batch, in DataLoader(TensorDataset(w), 2):
        batch.sum().backward()
    assert w.grad.tolist() == [[1, 1]] * 4


@pytest.mark.parametrize("workers, persistent", ((0, False), (2, False), (2, True)))
@pytest.mark.parametrize("kwargs", (dict(batch_size=3), dict(batch_size=3, drop_last=True), dict(batch_size=None)), ids=str)
@pytest.mark.parametrize("n", (0, 1, 7, 20))
def test_iterable_datasets(n, kwargs, workers, persistent):
    """Every item comes once, each worker batches its own share, and a second epoch is like the first."""
    loader = DataLoader(Share(n), num_workers=workers, persistent_workers=persistent, **kwargs)
    shares = [list(range(n))] if not workers else [list(range(i, n, workers)) for i in range(workers)]
    if kwargs["batch_size"] is None:
        want = [i for turn in range(n) for share in shares for i in share[turn:turn + 1]]
    else:
        parts = [[s[i:i + 3] for i in range(0, len(s), 3)] for s in shares]
        given = (lambda batch: len(batch) == 3) if "drop_last" in kwargs else len
        want = [p[turn] for turn in range(n) for p in parts if turn < len(p) and given(p[turn])]
    for _ in range(2):
        assert as_lists(loader) == want


def test_iterable_dataset_longer_than_it_said():
    """After len() was asked for, more items than reported are given with a warning."""
    class Long(Share):
        def __len__(self):
            return 2
    loader = DataLoader(Long(4), batch_size=None)
    assert len(loader) == 2
    with pytest.warns(UserWarning,
                      match="Length of IterableDataset .* was reported to be 2.* but 3 samples have been fetched"):
        assert list(loader) == [0, 1, 2, 3]


def test_lengths():
    """Batches in an epoch, for each way of batching."""
    assert len(DataLoader(range(10), 3)) == 4 and len(DataLoader(range(10), 3, drop_last=True)) == 3
    assert len(DataLoader(range(10), batch_size=None)) == 10
    assert len(DataLoader(range(10), batch_sampler=[[1], [2, 3]])) == 2
    assert len(DataLoader(Share(10), 3)) == 4 and len(DataLoader(Share(10), 3, drop_last=True)) == 3
    with pytest.raises(TypeError, match="has no len"):
        class Endless(IterableDataset):
            def __iter__(self):
                return iter(())
        len(DataLoader(Endless(), 3))


def test_custom_pieces():
    """collate_fn, sampler, batch_sampler and __getitems__ are used."""
    assert list(DataLoader(range(5), 2, collate_fn=tuple)) == [(0, 1), (2, 3), (4,)]
    assert list(DataLoader(Squares(5), 2, sampler=[4, 0, 2], collate_fn=list)) == [[16, 0], [4]]
    assert list(DataLoader(Squares(5), batch_sampler=[[1, 2], [3]], collate_fn=list)) == [[1, 4], [9]]
    assert list(DataLoader(Squares(3), batch_size=None, sampler=[2, 1])) == [4, 1]

    class Whole(Squares):
        def __getitems__(self, indices):
            return [("together", i) for i in indices]
    assert list(DataLoader(Whole(3), 2, collate_fn=list)) == [[("together", 0), ("together", 1)], [("together", 2)]]


def test_constructor_errors():
    """Arguments that exclude each other or are out of range are refused in torch's words."""
    r, i = range(4), Share(4)
    for make, error, message in (
            (lambda: DataLoader(r, 0), ValueError, "batch_size should be a positive integer value, but got batch_size=0"),
            (lambda: DataLoader(r, num_workers=-1), ValueError, "num_workers option should be non-negative"),
            (lambda: DataLoader(r, timeout=-1), ValueError, "timeout option should be non-negative"),
            (lambda: DataLoader(r, prefetch_factor=2), ValueError,
             "prefetch_factor option could only be specified in multiprocessing"),
            (lambda: DataLoader(r, num_workers=1, prefetch_factor=-1), ValueError,
             "prefetch_factor option should be non-negative"),
            (lambda: DataLoader(r, persistent_workers=True), ValueError, "persistent_workers option needs num_workers > 0"),
            (lambda: DataLoader(r, sampler=[0], shuffle=True), ValueError,
             "sampler option is mutually exclusive with shuffle"),
            (lambda: DataLoader(r, 2, batch_sampler=[[0]]), ValueError,
             "batch_sampler option is mutually exclusive with batch_size, shuffle"),
            (lambda: DataLoader(r, None, drop_last=True), ValueError, "batch_size=None option disables auto-batching"),
            (lambda: DataLoader(i, shuffle=True), ValueError,
             "DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle=True"),
            (lambda: DataLoader(i, sampler=[0]), ValueError, "expected unspecified sampler option, but got sampler=.0."),
            (lambda: DataLoader(i, batch_sampler=[[0]]), ValueError, "expected unspecified batch_sampler option"),
            (lambda: DataLoader(r, multiprocessing_context="fork"), ValueError,
             "multiprocessing_context can only be used with multi-process"),
            (lambda: DataLoader(r, num_workers=1, multiprocessing_context="x"), ValueError,
             "should specify a valid start method in"),
            (lambda: DataLoader(r, num_workers=1, multiprocessing_context=3), TypeError, "should be a valid context object"),
            (lambda: list(DataLoader(r, timeout=1)), AssertionError, "requires timeout == 0"),
            (lambda: list(DataLoader(r, num_workers=1, prefetch_factor=0)), AssertionError,
             "prefetch_factor must be greater than 0"),
            (lambda: setattr(DataLoader(r), "batch_size", 3), ValueError,
             "batch_size attribute should not be set after DataLoader is initialized"),
            (lambda: pickle.dumps(iter(DataLoader(r))), NotImplementedError, "cannot be pickled")):
        with pytest.raises(error, match=message):
            make()


def test_warnings():
    """pin_memory without a device, and more workers than cores, are accepted with torch's warnings."""
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        assert as_lists(DataLoader(range(3), 3, pin_memory=True)) == [[0, 1, 2]]
    with pytest.warns(UserWarning, match="This DataLoader will create 1000 worker processes in total"):
        DataLoader(range(3), num_workers=1000)


# ---- workers -----------------------------------------------------------------------------------------------------------

class Report(Dataset):
    """Tells what a worker knows of itself, and draws from its three generators."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        info = get_worker_info()
        draws = (numtorch.rand(()).item(), random.random(), np.random.rand())
        return (i, info.id, info.num_workers, info.seed, os.getpid(), *draws)


class Raises(Dataset):
    """Item 4 raises."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 10

    def __getitem__(self, i):
        if i == 4:
            raise self.error
        return i


class Ends(Dataset):
    """Item 4 ends its process."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 10

    def __getitem__(self, i):
        if i == 4:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(3)
        return i


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


def test_worker_info_and_seeds(torch):
    """Each worker knows its number; its generators are seeded with base seed + number as in torch, so it draws torch's
    numbers."""
    assert get_worker_info() is None
    numtorch.manual_seed(1)
    torch.manual_seed(1)
    seen = list(DataLoader(Report(), batch_size=None, num_workers=2))
    base = torch.empty((), dtype=torch.int64).random_().item()
    assert [s[0] for s in seen] == list(range(6))
    assert [s[1] for s in seen] == [0, 1] * 3 and {s[2] for s in seen} == {2}
    assert [s[3] for s in seen[:2]] == [base, base + 1]
    assert len({s[4] for s in seen} | {os.getpid()}) == 3
    for worker in (0, 1):
        want = numtorch.Generator().manual_seed(base + worker)
        python, legacy = random.Random(base + worker), np.random.RandomState(numpy_seed(base, worker))
        for s in seen[worker::2]:
            assert list(s[5:]) == [numtorch.rand((), generator=want).item(), python.random(), legacy.rand()]


def test_numpy_seed_equals_torch(torch):
    """The words that seed NumPy in a worker are those of torch's mixing function."""
    from torch.utils.data._utils.worker import _generate_state

    for base in (0, 5, 2 ** 40 + 7, 2 ** 63 - 1):
        for worker in range(3):
            assert numpy_seed(base, worker) == _generate_state(base, worker)


def test_worker_init_fn():
    """It is called in each worker with its number, before the first item; what it raises reaches the caller."""
    def init(worker):
        get_worker_info().dataset.offset = 100 * worker

    class Offset(Squares):
        offset = None

        def __getitem__(self, i):
            return self.offset + i
    assert as_lists(DataLoader(Offset(4), 1, num_workers=2, worker_init_fn=init)) == [[0], [101], [2], [103]]

    def fail(worker):
        raise ZeroDivisionError("in init")
    with pytest.raises(ZeroDivisionError, match="in DataLoader worker process 0"):
        list(DataLoader(range(4), num_workers=1, worker_init_fn=fail))


@pytest.mark.parametrize("error", (ValueError("boo"), KeyError("boo"), TwoArguments("boo", 1)), ids=repr)
def test_an_exception_in_a_worker_reaches_the_caller(error):
    """With its type (RuntimeError for one that cannot be made from a message), its traceback in the message, and no process
    left."""
    kind = RuntimeError if isinstance(error, TwoArguments) else type(error)
    with pytest.raises(kind) as caught:
        list(DataLoader(Raises(error), 2, num_workers=2))
    text = str(caught.value)
    name = type(error).__name__
    assert f"Caught {name} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n" in text
    assert "in __getitem__" in text and "boo" in text
    del caught
    assert no_workers_left()


def test_iteration_can_go_on_after_an_exception():
    """The batch that failed is lost, the ones after it are not."""
    batches = iter(DataLoader(Raises(ValueError("boo")), 2, num_workers=2))
    seen = []
    for _ in range(5):
        try:
            seen.append(next(batches).tolist())
        except ValueError:
            seen.append(None)
    assert seen == [[0, 1], [2, 3], None, [6, 7], [8, 9]]


def test_a_batch_that_cannot_be_pickled_is_an_error():
    """And not a hang."""
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="in DataLoader worker process"):
        list(DataLoader(range(4), 2, num_workers=1, collate_fn=lambda items: lambda: items))


@pytest.mark.parametrize("how, says", (("kill", "killed by SIGKILL"), ("exit", "exit code 3")))
def test_a_dead_worker_is_an_error(how, says):
    """A worker that is killed or leaves is reported with its pid and the way it went; the others are ended."""
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly: {says}"):
        list(DataLoader(Ends(how), 2, num_workers=2))
    assert no_workers_left()


def test_timeout():
    """A worker that gives nothing in time is an error; it waits for an event that never comes."""
    never = multiprocessing.get_context("fork").Event()

    class Stuck(Squares):
        def __getitem__(self, i):
            never.wait()
    batches = iter(DataLoader(Stuck(4), num_workers=1, timeout=0.2))
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.2 seconds"):
        next(batches)
    for process in multiprocessing.active_children():
        process.kill()


def test_large_batches_travel_whole():
    """Batches larger than a pipe holds, of several arrays, dtypes and changing sizes, arrive equal, writable and independent.

    They are kept until the end: the memory that they came through is used again, theirs must not be.
    """
    class Large(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, i):
            side = 60 + i // 2 % 7 * 10
            return {"image": np.full((3, side, side), i, np.float32), "label": i, "empty": numtorch.zeros(0),
                    "half": numtorch.full((50, 50), i, dtype=numtorch.bfloat16)}
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    batches = list(DataLoader(Large(), 2, num_workers=2))
    for number, batch in enumerate(batches):
        side = 60 + number % 7 * 10
        assert batch["image"].shape == (2, 3, side, side) and batch["empty"].shape == (2, 0)
        for k, i in enumerate((2 * number, 2 * number + 1)):
            assert (batch["image"][k] == i).all() and (batch["half"][k].float() == i).all() and batch["label"][k] == i
        batch["image"].add_(1)
        assert (batch["half"][0].float() == 2 * number).all()
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_orders_larger_than_a_pipe_do_not_block():
    """Indices of 200,000 items each way, with several batches under way."""
    loader = DataLoader(range(400000), 200000, num_workers=1, prefetch_factor=2)
    assert [b.sum().item() for b in loader] == [sum(range(200000)), sum(range(200000, 400000))]


def test_persistent_workers_stay(torch):
    """The same processes serve every epoch, also after one was left in the middle; the order is torch's."""
    loader = DataLoader(Report(), batch_size=None, num_workers=2, persistent_workers=True)
    pids = {s[4] for s in loader}
    next(iter(loader))
    assert {s[4] for s in loader} == pids
    ours = DataLoader(range(9), 2, shuffle=True, num_workers=2, persistent_workers=True)
    theirs = torch.utils.data.DataLoader(range(9), 2, shuffle=True, num_workers=2, persistent_workers=True)
    numtorch.manual_seed(4)
    torch.manual_seed(4)
    for _ in range(3):
        assert as_lists(ours) == as_lists(theirs)


def test_out_of_order():
    """in_order=False gives every batch once."""
    found = as_lists(DataLoader(range(20), 2, num_workers=2, in_order=False))
    assert sorted(found) == [[i, i + 1] for i in range(0, 20, 2)]
    assert sorted(as_lists(DataLoader(Share(9), batch_size=None, num_workers=2, in_order=False))) == list(range(9))


@pytest.mark.parametrize("method", ("fork", "spawn", "forkserver"))
def test_start_methods(method):
    """Workers started in each of Python's ways give the same batches."""
    context = multiprocessing.get_context(method) if method == "fork" else method
    assert as_lists(DataLoader(range(6), 2, num_workers=2, multiprocessing_context=context)) == [[0, 1], [2, 3], [4, 5]]


def test_leaving_a_loop_ends_its_workers():
    """After a break nothing is left once the iterator is gone; two loaders at once do not hold each other's workers."""
    first, second = iter(DataLoader(Squares(50), num_workers=2)), iter(DataLoader(Squares(50), num_workers=2))
    assert next(first).item() == next(second).item() == 0
    del first
    assert len(multiprocessing.active_children()) == 2
    assert next(second).item() == 1
    del second
    assert no_workers_left()


def test_workers_run_kernels_after_the_parent_ran_parallel_ones():
    """A forked child may not enter the parent's OpenMP; batches computed in workers equal those computed here."""
    big = numtorch.ones(1 << 20)
    assert (big + big).sum().item() == 2 << 20

    class Computes(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            x = numtorch.arange(1 << 17, dtype=numtorch.float32) + i
            return (x * 2).sum()
    here = as_lists(DataLoader(Computes(), 1))
    there = as_lists(DataLoader(Computes(), 1, num_workers=2))
    assert np.allclose(here, there, rtol=1e-5)


def test_interrupt_leaves_no_process_behind():
    """Ctrl-C in a loop: KeyboardInterrupt in the parent, no output from the workers, and all of them gone."""
    program = textwrap.dedent("""
        import os, signal, sys
        import numtorch
        from numtorch.utils.data import DataLoader
        batches = iter(DataLoader(range(100000), 2, num_workers=2))
        first = [next(batches) for _ in range(4)]       # both workers are in their loops
        try:
            print(*[w.pid for w in batches._workers], flush=True)
            for batch in batches:
                pass
            sys.stdin.readline()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise SystemExit(0)
        """)
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))     # a shell's background ignores it
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    for _ in range(3):      # Python itself swallows an interrupt that arrives within a destructor
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(10)
            break
        except subprocess.TimeoutExpired:
            continue
    out, err = process.communicate(timeout=60)
    assert "interrupted" in out and "Traceback (most recent call last):\n  File \"<string>\"" not in err
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().split()[2] == "Z"


def test_workers_end_with_a_killed_parent():
    """A parent that is killed cannot tell its workers; they notice."""
    program = textwrap.dedent("""
        import os, signal
        from numtorch.utils.data import DataLoader
        batches = iter(DataLoader(range(1000), 2, num_workers=2))
        next(batches)
        print(*[w.pid for w in batches._workers], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    # the workers hold the pipe's other end until they are gone: end of file says that they are
    assert process.stdout.read() == ""
    process.wait()
    process.stdout.close()


def test_a_program_may_end_with_a_loader_alive():
    """Persistent workers that were never told to end do not keep the program from ending, nor outlive it."""
    program = textwrap.dedent("""
        from numtorch.utils.data import DataLoader
        loader = DataLoader(range(1000), 2, num_workers=2, persistent_workers=True)
        batches = iter(loader)
        next(batches)
        print("ready")
        """)
    # the workers inherit stdout: run returns when the last of them has closed it
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "ready\n" and done.stderr == ""


def test_a_forked_copy_leaves_the_workers_alone():
    """A process that inherits an iterator by fork and ends does not end the workers, which are not its own."""
    batches = iter(DataLoader(Squares(20), num_workers=1))
    next(batches)
    child = multiprocessing.get_context("fork").Process(target=batches._close)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert [b.item() for b in batches] == [i * i for i in range(1, 20)]


def test_kernels_of_workers_are_serial():
    """A worker keeps to one thread: two workers and the parent share the cores."""
    class Threads(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return K._jit.get_num_threads()
    assert as_lists(DataLoader(Threads(), 1, num_workers=2)) == [[1], [1]]


def test_public_names():
    """Everything that torch.utils.data offers and is built is found where torch has it."""
    for name in data.__all__:
        assert getattr(data, name).__doc__, name
    from numtorch.utils.data.dataloader import default_collate as same
    from numtorch.utils.data.distributed import DistributedSampler as same_sampler

    assert same is default_collate and same_sampler is DistributedSampler
