"""Apple's GPU, for which there are no kernels."""


def is_available():
    """False: no operation runs on Apple's GPU."""
    return False


def is_built():
    """False: there are no kernels for Apple's GPU."""
    return False
