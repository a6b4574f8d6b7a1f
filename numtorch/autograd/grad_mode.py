"""Whether operations are recorded: one flag a thread, and the contexts and decorators that set it."""
import functools
import inspect
import threading


class _Mode(threading.local):
    enabled = True          # record operations
    inference = False       # make inference tensors
    anomaly = False         # keep the stack of each forward call, look for nan in backward
    anomaly_check_nan = True


mode = _Mode()
inference_depth = [0]       # inference_mode blocks open in any thread: 0 spares the hot path a look at ``mode``


def is_grad_enabled():
    """True while operations are recorded in this thread."""
    return mode.enabled


def is_inference_mode_enabled():
    """True inside ``inference_mode``."""
    return mode.inference


class _Context:
    """A with-block that is also a decorator: of functions, of generators (set only while they run), of classes."""

    def __call__(self, fn):
        if inspect.isclass(fn):
            fn.__init__ = self(fn.__init__)
            return fn
        if inspect.isgeneratorfunction(fn):
            return self._wrap_generator(fn)

        @functools.wraps(fn)
        def wrapped(*args, **kwargs):
            with self.clone():
                return fn(*args, **kwargs)
        return wrapped

    def _wrap_generator(self, fn):
        @functools.wraps(fn)
        def wrapped(*args, **kwargs):
            generator, send, value = fn(*args, **kwargs), "send", None
            while True:
                try:
                    with self.clone():
                        out = getattr(generator, send)(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    send, value = "send", (yield out)
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    send, value = "throw", error
        return wrapped

    def clone(self):
        """A fresh context of the same setting, so that one decorator serves nested and concurrent calls."""
        return type(self)()


class _SetEnabled(_Context):
    value = False

    def __new__(cls, fn=None):
        context = object.__new__(cls)
        return context(fn) if fn is not None else context      # @no_grad without parentheses

    def __enter__(self):
        self.previous = mode.enabled
        mode.enabled = self.value

    def __exit__(self, *exc):
        mode.enabled = self.previous


class no_grad(_SetEnabled):
    """Operations inside are not recorded; results do not require gradients.

    >>> import numtorch as torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    value = False


class enable_grad(_SetEnabled):
    """Operations inside are recorded, also within ``no_grad``."""

    value = True


class set_grad_enabled(_Context):
    """Sets recording on or off by ``mode``: at once when called, and back at the end of a with-block.

    Args:
        mode (bool): record operations.
    """

    def __init__(self, mode):
        self.value, self.previous = bool(mode), _mode_of_thread().enabled
        _mode_of_thread().enabled = self.value

    def __call__(self, fn):
        mode.enabled = self.previous
        return super().__call__(fn)

    def __enter__(self):
        mode.enabled = self.value

    def __exit__(self, *exc):
        mode.enabled = self.previous

    def clone(self):
        return set_grad_enabled(self.value)


def _mode_of_thread():
    return mode


class inference_mode(_Context):
    """Like ``no_grad``, and tensors made inside can never be recorded later.

    Args:
        mode (bool): False makes it do nothing but enable recording again.
    """

    def __new__(cls, mode=True):
        context = object.__new__(cls)
        if callable(mode):
            context.value = True
            return context(mode)
        context.value = mode
        return context

    def __enter__(self):
        self.previous = mode.enabled, mode.inference
        mode.enabled, mode.inference = not self.value, self.value
        inference_depth[0] += 1

    def __exit__(self, *exc):
        mode.enabled, mode.inference = self.previous
        inference_depth[0] -= 1

    def clone(self):
        return inference_mode(self.value)


class detect_anomaly(_Context):
    """Forward calls keep their stack, so that an error or a nan in backward names the forward call that led to it.

    Args:
        check_nan (bool): raise RuntimeError when a backward function returns nan.
    """

    def __init__(self, check_nan=True):
        self.check_nan = check_nan

    def __enter__(self):
        self.previous = mode.anomaly, mode.anomaly_check_nan
        mode.anomaly, mode.anomaly_check_nan = True, self.check_nan

    def __exit__(self, *exc):
        mode.anomaly, mode.anomaly_check_nan = self.previous

    def clone(self):
        return detect_anomaly(self.check_nan)


class set_detect_anomaly(detect_anomaly):
    """``detect_anomaly`` set at once by ``mode``, and back at the end of a with-block."""

    def __init__(self, mode, check_nan=True):
        super().__init__(check_nan)
        self.value = mode
        self.__enter__()

    def __enter__(self):
        if not hasattr(self, "previous"):
            super().__enter__()
            mode.anomaly = self.value


def is_anomaly_enabled():
    """True while forward calls keep their stack."""
    return mode.anomaly
