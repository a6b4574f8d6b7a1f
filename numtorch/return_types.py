"""The named tuples that operations with several outputs return, printed as torch's: ``torch.return_types.sort(values=...)``."""
import operator


def return_type(name, fields):
    """Makes (once) and returns the tuple class ``name`` with ``fields``, a string of names.

    An instance is made from a sequence, like ``tuple``; its entries are also attributes.

    >>> pair = return_type("example", "values indices")
    >>> pair((1, 2)).indices
    2
    """
    found = globals().get(name)
    if found is None:
        fields = tuple(fields.split())
        body = {field: property(operator.itemgetter(i), doc=f"Entry {i}.") for i, field in enumerate(fields)}
        body.update(__slots__=(), __repr__=_repr, __reduce__=_reduce, _fields=fields, n_fields=len(fields),
                    n_sequence_fields=len(fields), __module__=__name__, __doc__=f"What {name} returns: {', '.join(fields)}.")
        found = globals()[name] = type(name, (tuple,), body)
    return found


def _repr(self):
    inside = ",\n".join(f"{field}={value!r}" for field, value in zip(self._fields, self))
    return f"torch.return_types.{type(self).__name__}(\n{inside})"


def _reduce(self):
    return _restore, (type(self).__name__, " ".join(self._fields), tuple(self))


def _restore(name, fields, values):
    return return_type(name, fields)(values)
