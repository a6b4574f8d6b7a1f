"""Sequences of different lengths: packed one after another by time step, or padded to one length."""
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ... import dtypes
from ...ops import create
from ...ops.join import cat
from ...tensor import Tensor, wrap

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
           "pad_sequence", "unpack_sequence", "unpad_sequence"]


class PackedSequence_(NamedTuple):
    """The fields of a PackedSequence."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor
    unsorted_indices: Tensor


class PackedSequence(PackedSequence_):
    """Sequences without their padding, as recurrent layers take them; made by ``pack_padded_sequence`` or ``pack_sequence``.

    ``data`` (sum of lengths, ...) holds the first elements of all sequences, then the second ones, and so on;
    ``batch_sizes`` how many sequences there are at each step; ``sorted_indices`` the order in which the sequences, longest
    first, were taken, and ``unsorted_indices`` its inverse.
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if batch_sizes.is_cuda:
            raise ValueError("batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                             "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                             "nn.utils.rnn. https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """Converts the data, as ``Tensor.to``, and takes the indices to where it is; itself if nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        order, restored = (None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices))
        return type(self)(data, self.batch_sizes, order, restored)

    def pin_memory(self):
        """The sequence itself: there is no page-locked memory."""
        return self

    def cpu(self, *args, **kwargs):
        """The data on the CPU."""
        return self.to(*args, device="cpu", **kwargs)

    def cuda(self, *args, **kwargs):
        """The data on a CUDA device: the current one, unless the arguments, those of ``to``, name another."""
        if not self.data.new_empty(0).to(*args, **kwargs).is_cuda:
            kwargs["device"] = "cuda"
        return self.to(*args, **kwargs)

    def double(self):
        """The data as float64."""
        return self.to(dtypes.float64)

    def float(self):
        """The data as float32."""
        return self.to(dtypes.float32)

    def half(self):
        """The data as float16."""
        return self.to(dtypes.float16)

    def long(self):
        """The data as int64."""
        return self.to(dtypes.int64)

    def int(self):
        """The data as int32."""
        return self.to(dtypes.int32)

    def short(self):
        """The data as int16."""
        return self.to(dtypes.int16)

    def char(self):
        """The data as int8."""
        return self.to(dtypes.int8)

    def byte(self):
        """The data as uint8."""
        return self.to(dtypes.uint8)

    @property
    def is_cuda(self):
        """Whether the data is on a CUDA device."""
        return self.data.is_cuda

    def is_pinned(self):
        """False."""
        return False


def invert_permutation(permutation):
    """The permutation that undoes another; None for None."""
    if permutation is None:
        return None
    n = permutation.numel()
    return permutation.new_empty(n).scatter_(0, permutation, create.arange(n, dtype=permutation.dtype, device=permutation.device))


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Packs padded sequences.

    Args:
        input (Tensor): (T, B, ...), or (B, T, ...) with ``batch_first``.
        lengths (Tensor or list of ints): the length of each sequence.
        batch_first (bool): the batch is the first dimension.
        enforce_sorted (bool): the lengths must be decreasing; if False, the sequences are sorted.

    Returns:
        PackedSequence

    Raises:
        RuntimeError: lengths are not decreasing, not positive, not as many as there are sequences, or on a CUDA device.
    """
    if isinstance(lengths, Tensor) and lengths.is_cuda:
        raise RuntimeError("'lengths' argument should be a 1D CPU int64 tensor, but got "
                           f"{lengths.dim()}D {lengths.device} Long tensor")
    lengths = np.asarray(lengths._a if isinstance(lengths, Tensor) else lengths, np.int64)
    order = restored = None
    if not enforce_sorted:
        sort = np.argsort(-lengths, kind="stable")
        order, restored, lengths = _indices(sort, input), _indices(np.argsort(sort), input), lengths[sort]
        input = input.index_select(0 if batch_first else 1, order)
    if batch_first:
        input = input.transpose(0, 1)
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if lengths.ndim != 1 or len(lengths) != input.size(1):
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {lengths.size} "
                           f"(batch_size={input.size(1)})")
    if (lengths[1:] > lengths[:-1]).any():
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                           "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement "
                           "if you do not need ONNX exportability.")
    if lengths[-1] <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if lengths[0] > input.size(0):
        raise RuntimeError(f"Expected `max(lengths)` to be at most the input's length {input.size(0)}, but got {lengths[0]}")
    steps, batch = int(lengths[0]), input.size(1)
    there = np.arange(steps)[:, None] < lengths                         # (T, B): the sequence has this step
    rows = input[:steps].reshape(steps * batch, *input.shape[2:])
    data = rows if there.all() else rows.index_select(0, _indices(there.reshape(-1).nonzero()[0], input))
    return PackedSequence(data, wrap(there.sum(1)), order, restored)


def _indices(array, data):
    """Indices, an ndarray, as a tensor where ``data`` is."""
    return wrap(array).to(data.device)


def _lengths(batch_sizes):
    """The length of each sequence, longest first."""
    return (batch_sizes[:, None] > np.arange(batch_sizes[0])).sum(0)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """Pads packed sequences to one length: the inverse of ``pack_padded_sequence``.

    Args:
        sequence (PackedSequence): what is padded.
        batch_first (bool): the batch is the first dimension of the result.
        padding_value (float): what is put behind the shorter sequences.
        total_length (int): their length; default that of the longest.

    Returns:
        (Tensor, Tensor): the sequences (T, B, ...), and their lengths.

    Raises:
        ValueError: ``total_length`` is less than the longest sequence.
    """
    sizes, data = sequence.batch_sizes._a, sequence.data
    steps, batch = len(sizes), int(sizes[0])
    longest = steps
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but got "
                             f"total_length={total_length} and max sequence length being {steps}")
        longest = total_length
    there = np.arange(longest)[:, None] < _lengths(sizes)
    if there.all():
        found = data
    else:
        # each place of the result takes a row of the data; places past the end take one more row, the padding
        rows = np.where(there, np.cumsum(there.reshape(-1)).reshape(there.shape) - 1, data.size(0))
        padding = create.full((1, *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
        found = cat([data, padding]).index_select(0, _indices(rows.reshape(-1), data))
    found = found.reshape(longest, batch, *data.shape[1:])
    lengths = wrap(_lengths(sizes))
    if batch_first:
        found = found.transpose(0, 1)
    if sequence.unsorted_indices is not None:
        found = found.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return found, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stacks tensors of different lengths, padded to the longest.

    Args:
        sequences (iterable of Tensors): (L_i, ...).
        batch_first (bool): the result is (B, T, ...) instead of (T, B, ...).
        padding_value (float): what is put beside the shorter ones.
        padding_side (str): "right" or "left" of them.

    Raises:
        RuntimeError: there is no sequence, or ``padding_side`` is not known.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(s.size(0) for s in sequences)
    rows = []
    for s in sequences:
        missing = longest - s.size(0)
        if missing:
            padding = create.full((missing, *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
            s = cat([padding, s] if padding_side == "left" else [s, padding])
        rows.append(s.unsqueeze(0 if batch_first else 1))
    return cat(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """A list of the sequences in a padded tensor, without their padding.

    Args:
        padded_sequences (Tensor): (T, B, ...), or (B, T, ...) with ``batch_first``.
        lengths (Tensor): the length of each.
    """
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:n] for row, n in zip(rows.unbind(0), lengths.tolist(), strict=True)]


def pack_sequence(sequences, enforce_sorted=True):
    """Packs a list of tensors of different lengths; arguments as those of ``pack_padded_sequence``."""
    return pack_padded_sequence(pad_sequence(sequences), [s.size(0) for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """A list of the sequences of a PackedSequence."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
