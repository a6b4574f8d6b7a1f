"""Times and errors of process groups."""
from datetime import timedelta

__all__ = ["default_pg_timeout", "DistError", "DistBackendError", "DistNetworkError", "DistStoreError"]

default_pg_timeout = timedelta(minutes=30)      # of an operation
default_store_timeout = timedelta(minutes=5)    # of a store that is made without one


class DistError(RuntimeError):
    """Something went wrong between the processes of a group."""


class DistBackendError(DistError):
    """An operation failed: a process of the group ended, was late, or called another operation."""


class DistNetworkError(DistError):
    """The store's server cannot be reached."""


class DistStoreError(DistError):
    """A key was not set in time."""


def seconds(timeout, name):
    """A timedelta (or a number of seconds) in seconds.

    Raises:
        TypeError: it is neither; ``name`` is what the message calls it.
    """
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        return float(timeout)
    raise TypeError(f"{name} expects timeout to be a datetime.timedelta, but got {type(timeout).__name__}")
