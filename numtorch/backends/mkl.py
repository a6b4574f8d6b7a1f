"""Intel's MKL, which numtorch does not call itself; NumPy's products may run on it."""


def is_available():
    """False: numtorch calls NumPy's BLAS, whichever that is."""
    return False
