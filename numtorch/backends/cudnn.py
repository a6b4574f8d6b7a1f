"""Settings of cuDNN, which numtorch does not use: they can be written and read, and change nothing."""
enabled, benchmark, deterministic, allow_tf32 = True, False, False, True


def is_available():
    """False: no operation runs on cuDNN."""
    return False


def version():
    """None: there is no cuDNN."""
    return None
