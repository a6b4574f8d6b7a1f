"""Sequences of different lengths: padding and packing."""
from collections import namedtuple

import numpy as np

from ...ops.join import cat, stack
from ...tensor import Tensor, wrap


class PackedSequence(namedtuple("PackedSequence", "data batch_sizes sorted_indices unsorted_indices")):
    """Sequences, longest first, with all first elements side by side, then all second ones, and so on.

    ``batch_sizes`` says how many sequences have each step; ``sorted_indices`` how the sequences were sorted.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            data, batch_sizes = data
        if unsorted_indices is None and sorted_indices is not None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """With the data moved or converted."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def cpu(self):
        """Itself."""
        return self

    @property
    def is_cuda(self):
        """False."""
        return self.data.is_cuda


def invert_permutation(permutation):
    """The permutation that undoes ``permutation``."""
    return None if permutation is None else wrap(np.argsort(permutation._a, kind="stable"))


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences (L_i, ...) as one tensor (L, N, ...), or (N, L, ...), filled up with ``padding_value``."""
    sequences = list(sequences)
    longest = max(s.size(0) for s in sequences)
    rest = sequences[0].shape[1:]
    rows = []
    for s in sequences:
        fill = s.new_full((longest - s.size(0), *rest), padding_value)
        rows.append(cat((s, fill) if padding_side == "right" else (fill, s)))
    return stack(rows, 0 if batch_first else 1)


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """A padded batch (L, N, ...) as a PackedSequence.

    Args:
        input (Tensor): padded sequences.
        lengths (Tensor or list of ints): of each sequence.
        enforce_sorted (bool): they come longest first; False sorts them.

    Raises:
        RuntimeError: a length that is not positive, or lengths not sorted.
    """
    lengths = np.asarray(lengths._a if isinstance(lengths, Tensor) else lengths, np.int64)
    indices = None
    if not enforce_sorted:
        order = np.argsort(-lengths, kind="stable")
        lengths, indices = lengths[order], wrap(order)
        input = input.index_select(0 if batch_first else 1, indices)
    steps = input.transpose(0, 1) if batch_first else input
    if lengths.size != steps.size(1):
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {lengths.size} "
                           f"(batch_size={steps.size(1)})")
    if lengths.size and lengths.min() <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if (np.diff(lengths) > 0).any():
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                           "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if "
                           "you do not need ONNX exportability.")
    sizes = (lengths[None] > np.arange(lengths.max())[:, None]).sum(1)
    data = cat([steps[t, :n] for t, n in enumerate(sizes.tolist())])
    return PackedSequence(data, wrap(sizes.astype(np.int64)), indices)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The inverse of ``pack_padded_sequence``: (padded tensor, lengths)."""
    sizes = sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but got "
                             f"total_length={total_length} and max sequence length being {steps}")
    rows, start, batch = [], 0, sizes[0]
    rest = sequence.data.shape[1:]
    for n in sizes:
        row = sequence.data[start:start + n]
        rows.append(row if n == batch else cat((row, row.new_full((batch - n, *rest), padding_value))))
        start += n
    for _ in range((total_length or steps) - steps):
        rows.append(rows[0].new_full((batch, *rest), padding_value))
    out = stack(rows)
    lengths = wrap((np.asarray(sizes)[:, None] > np.arange(batch)[None]).sum(0).astype(np.int64))
    if sequence.unsorted_indices is not None:
        out, lengths = out.index_select(1, sequence.unsorted_indices), lengths[sequence.unsorted_indices]
    return (out.transpose(0, 1) if batch_first else out), lengths


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The sequences of a padded batch, as a list."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [rows[i, :int(n)] for i, n in enumerate(lengths)]


def pack_sequence(sequences, enforce_sorted=True):
    """Sequences (L_i, ...) as a PackedSequence."""
    return pack_padded_sequence(pad_sequence(sequences), [s.size(0) for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The sequences of a PackedSequence, as a list."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
