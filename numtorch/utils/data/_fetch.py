"""Fetchers: from the indices of a batch to the batch, in the process of the DataLoader or in a worker."""
import numpy as np

from ...tensor import Tensor, wrap
from ._collate import default_collate
from .dataset import Subset, TensorDataset

MAP, ITERABLE = 0, 1


def create_fetcher(kind, dataset, auto_collation, collate_fn, drop_last):
    """The fetcher of a map-style (``kind`` MAP) or iterable dataset."""
    if kind == ITERABLE:
        return IterableFetcher(dataset, auto_collation, collate_fn, drop_last)
    if auto_collation and collate_fn is default_collate and rows_of(dataset) is not None:
        return RowsFetcher(dataset)
    return MapFetcher(dataset, auto_collation, collate_fn)


class IterableFetcher:
    """Takes items from the dataset's iterator, as many as there are (empty) indices in a batch."""

    def __init__(self, dataset, auto_collation, collate_fn, drop_last):
        self.iterator, self.ended = iter(dataset), False
        self.auto_collation, self.collate_fn, self.drop_last = auto_collation, collate_fn, drop_last

    def fetch(self, indices):
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.iterator))
        data = []
        for _ in indices:
            try:
                data.append(next(self.iterator))
            except StopIteration:
                self.ended = True
                break
        if not data or (self.drop_last and len(data) < len(indices)):
            raise StopIteration
        return self.collate_fn(data)


class MapFetcher:
    """Asks the dataset for the items of a batch, all at once if it can give them so."""

    def __init__(self, dataset, auto_collation, collate_fn):
        self.dataset, self.auto_collation, self.collate_fn = dataset, auto_collation, collate_fn

    def fetch(self, indices):
        if not self.auto_collation:
            data = self.dataset[indices]
        elif getattr(self.dataset, "__getitems__", None):
            data = self.dataset.__getitems__(indices)
        else:
            data = [self.dataset[i] for i in indices]
        return self.collate_fn(data)


def rows_of(dataset):
    """The TensorDataset under ``dataset`` if a batch of it is rows of tensors without history, else None."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    if type(dataset) is TensorDataset and all(type(t) is Tensor and not t._rg for t in dataset.tensors):
        return dataset
    return None


class RowsFetcher(MapFetcher):
    """Takes the rows of a TensorDataset's tensors in one step each: the same batch as stacking them one by one."""

    def __init__(self, dataset):
        super().__init__(dataset, True, default_collate)

    def fetch(self, indices):
        dataset, rows = self.dataset, indices
        try:
            while type(dataset) is Subset:
                rows, dataset = [dataset.indices[i] for i in rows], dataset.dataset
            rows = np.array(rows)
            if rows.dtype.kind == "i" and rows.ndim == 1 and not any(t._rg or t.is_cuda for t in dataset.tensors):
                return [wrap(t._a.take(rows, 0)) for t in dataset.tensors]
        except IndexError:
            pass    # the item by item way below gives the error its place and its wording
        return super().fetch(indices)
