"""Running modules at the same time, each in a thread."""
import threading
import traceback

from ...autograd.grad_mode import is_grad_enabled, set_grad_enabled

__all__ = ["parallel_apply"]


def parallel_apply(modules, inputs, kwargs_tup=None, devices=None):
    """Calls each module with its inputs, in threads.

    Args:
        modules (list of callable): one a device.
        inputs (list): positional arguments of each: a tuple, or the only one.
        kwargs_tup (list of dict): keyword arguments of each.
        devices (list): where each runs; named in errors.

    Returns:
        list: what each gave.

    Raises:
        the exception of the first that failed, its traceback in the message.
    """
    n = len(modules)
    kwargs_tup = [{}] * n if kwargs_tup is None else kwargs_tup
    devices = ["cpu"] * n if devices is None else devices
    if not len(inputs) == len(kwargs_tup) == len(devices) == n:
        raise AssertionError(f"The number of modules {n} is not equal to the number of inputs {len(inputs)}, of kwargs "
                             f"{len(kwargs_tup)} or of devices {len(devices)}")
    results, enabled = [None] * n, is_grad_enabled()

    def work(i):
        args = inputs[i] if isinstance(inputs[i], (list, tuple)) else (inputs[i],)
        try:
            with set_grad_enabled(enabled):         # it is a thread's own
                results[i] = True, modules[i](*args, **kwargs_tup[i])
        except Exception as error:
            results[i] = False, _told(error, f"in replica {i} on device {devices[i]}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, n)]
    for thread in threads:
        thread.start()
    if n:
        work(0)
    for thread in threads:
        thread.join()
    for good, value in results:
        if not good:
            raise value
    return [value for _, value in results]


def _told(error, where):
    """An exception of the same type (or RuntimeError) whose message says where it came from."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message = f"Caught {type(error).__name__} {where}.\nOriginal {text}"
    try:
        return type(error)(message)
    except TypeError:
        return RuntimeError(message)
