"""CUDA graphs: work that is noted once and then started again and again, as a whole, on the same memory."""
import gc

from ..kernels import _cuda_errors, _cuda_graphs, _driver
from ..kernels._driver import on
from ..kernels._pool import pool as _pool
from ._devices import synchronize
from .memory import empty_cache
from .streams import Stream, StreamContext

__all__ = ["CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing", "make_graphed_callables"]

_MODES = ("global", "thread_local", "relaxed")


def is_current_stream_capturing():
    """Whether work on the current stream is noted for a graph instead of being done."""
    if not _driver.in_use():
        return False
    driver = _driver.current()
    return driver.is_capturing(driver.stream())


def graph_pool_handle():
    """A name for memory that several graphs share: for ``pool=`` of their captures."""
    return 0, _pool.new_graphs()


class CUDAGraph:
    """The work of a capture, to be replayed.

    What is allocated during the capture is the graph's until ``reset``, or until the last graph of the same ``pool`` is gone.
    Numbers of Python that the captured code computed are part of the graph: a replay repeats them. Random numbers are not: each
    replay draws those that the code would draw, and advances the generators as it would.

    Args:
        keep_graph (bool): True is not built: NotImplementedError.
    """

    _driver = _graph = _pool = _stream = _device = _kept = None

    def __init__(self, keep_graph=False):
        if keep_graph:
            raise NotImplementedError("CUDAGraph(keep_graph=True) is not built: the driver's graph is not kept beside its "
                                      "executable form")

    def capture_begin(self, pool=None, capture_error_mode="global", check_input_liveness=False):
        """Notes the work that is put into the current stream, which must not be the default one, from here on.

        Args:
            pool: what ``graph_pool_handle`` or another graph's ``pool`` gave, to share memory with that graph. The graphs must
                then be replayed in the order of their captures.
            capture_error_mode (str): "global", "thread_local" or "relaxed": whose calls that a capture forbids are errors.
            check_input_liveness (bool): True is not built: NotImplementedError.
        """
        if check_input_liveness:
            raise NotImplementedError("capture_begin(check_input_liveness=True) is not built")
        if capture_error_mode not in _MODES:
            raise RuntimeError("Unknown capture error mode. Expected `global`, `thread_local`, or `relaxed`, got "
                               f"{capture_error_mode}")
        if self._pool is not None:
            raise RuntimeError("This CUDAGraph instance already owns a captured graph. To capture a new graph, create a new "
                               "instance.")
        driver = _driver.current()
        device, stream = driver.device(), driver.stream()
        if not stream:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream. (However, after capture, it's ok to "
                               "replay them on the default stream.)")
        pool = graph_pool_handle() if pool is None else pool
        _cuda_errors.prepare(device)
        _pool.begin_capture(device, stream, pool)
        self._driver, self._pool, self._device = driver, pool, device
        try:
            driver.begin_capture(stream, capture_error_mode)
        except BaseException:
            self._give_up()
            raise
        self._stream, self._kept = stream, _cuda_graphs.begin(device)

    def capture_end(self):
        """Ends the capture, on the stream on which it began; ``replay`` may be called from here on."""
        if self._stream is None:
            raise RuntimeError("capture_end() was called without a capture_begin() before it")
        if self._driver.stream() != self._stream:
            raise RuntimeError("Capture must end on the same stream it began on.")
        stream, self._stream = self._stream, None
        _cuda_graphs.end(self._device)
        try:
            self._graph = self._driver.end_capture(stream)
        except BaseException:
            self._give_up()
            raise
        _pool.end_capture(self._device)
        self._kept.fill()

    def _give_up(self):
        _pool.end_capture(self._device)
        _pool.release(self._pool)
        self._pool = self._kept = None

    def register_generator_state(self, generator):
        """Says that the capture will draw from ``generator``, of a CUDA device; all that it draws from are noted anyway.

        Raises:
            RuntimeError: it is the CPU's.
        """
        if generator.device.type != "cuda":
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")

    def instantiate(self):
        """Nothing is left to do: ``capture_end`` has made the graph ready."""
        self._captured("instantiate")

    def _captured(self, name):
        if self._graph is None:
            raise RuntimeError(f"Called CUDAGraph::{name} without a preceding successful capture.")

    def replay(self):
        """Puts the captured work into the current stream."""
        self._captured("replay")
        with on(self._device):
            stream = self._driver.stream()
            _cuda_errors.expect(self._device, stream)
            self._kept.renew(stream)
            self._driver.launch_graph(self._graph, stream)

    def reset(self):
        """Forgets the graph and gives up its memory."""
        if self._graph is not None:
            graph, self._graph = self._graph, None
            if _driver.in_use() and _driver.current() is self._driver:
                with on(self._device):
                    self._driver.destroy_graph(graph)
                _pool.release(self._pool)
            self._pool = self._kept = None

    def __del__(self):
        if _driver is not None:                 # None once the interpreter has taken the modules apart
            self.reset()

    def pool(self):
        """A name for the graph's memory, for the captures of other graphs."""
        if self._pool is None:
            raise RuntimeError("Called CUDAGraph::pool() without a preceding successful capture.")
        return self._pool

    def raw_cuda_graph(self):
        """Not built: the driver's graph is not kept."""
        raise NotImplementedError("CUDAGraph.raw_cuda_graph is not built: the driver's graph is not kept after the capture")

    def enable_debug_mode(self):
        """Not built: the driver's graph is not kept."""
        raise NotImplementedError("CUDAGraph.enable_debug_mode is not built: the driver's graph is not kept after the capture")

    def debug_dump(self, debug_path):
        """Not built: the driver's graph is not kept."""
        raise NotImplementedError("CUDAGraph.debug_dump is not built: the driver's graph is not kept after the capture")


class graph:
    """A with-block whose CUDA work is captured into ``cuda_graph`` instead of being done.

    Args:
        cuda_graph (CUDAGraph): where to.
        pool: see ``CUDAGraph.capture_begin``.
        stream (Stream): the stream that is captured; None: one that all such blocks share.
        capture_error_mode (str): see ``CUDAGraph.capture_begin``.
        enable_annotations, check_input_liveness (bool): True is not built: NotImplementedError.
    """

    default_capture_stream = None

    def __init__(self, cuda_graph, pool=None, stream=None, capture_error_mode="global", enable_annotations=False,
                 check_input_liveness=False):
        if enable_annotations:
            raise NotImplementedError("graph(enable_annotations=True) is not built")
        if stream is None and graph.default_capture_stream is None:
            graph.default_capture_stream = Stream()
        self.capture_stream = graph.default_capture_stream if stream is None else stream
        self.stream_ctx = StreamContext(self.capture_stream)
        self.cuda_graph, self.pool = cuda_graph, pool
        self.capture_error_mode, self.check_input_liveness = capture_error_mode, check_input_liveness

    def __enter__(self):
        synchronize()
        gc.collect()                            # device memory may be held by cycles of dead objects
        empty_cache()
        _pool.empty_pinned()
        self.stream_ctx.__enter__()
        try:
            self.cuda_graph.capture_begin(self.pool, self.capture_error_mode, self.check_input_liveness)
        except BaseException:
            self.stream_ctx.__exit__()
            raise

    def __exit__(self, kind, error, trace):
        try:
            self.cuda_graph.capture_end()
            if error is not None:
                self.cuda_graph.reset()         # half of a graph is of no use
        except RuntimeError:
            if error is None:
                raise                           # else the driver repeats what went wrong in the block
        finally:
            self.stream_ctx.__exit__(kind, error, trace)


@_driver.on_change.append
def _forget():
    graph.default_capture_stream = None


# ---- graphed callables --------------------------------------------------------------------------------------------------

def make_graphed_callables(callables, sample_args, num_warmup_iters=3, allow_unused_input=False, pool=None):
    """Functions and modules whose forward and backward passes are graphs, to be used in their place.

    A graphed function copies its arguments to where the sample arguments lie, replays its graph and returns tensors that the
    next call overwrites. Its gradients come from a second graph, and cannot be differentiated again. Of a module, ``forward``
    is replaced; it goes the old way while ``training`` is other than it is now.

    Args:
        callables (Module, function, or tuple of them): what to capture. A tuple is captured in its order and must run in it.
        sample_args (tuple of Tensors, or tuple of such tuples): arguments of the shapes, dtypes, devices and requires_grad of
            those to come.
        num_warmup_iters (int): how often each is run before the capture.
        allow_unused_input (bool): whether the outputs may be independent of some inputs.
        pool: see ``CUDAGraph.capture_begin``.
    """
    alone = not isinstance(callables, tuple)
    if alone:
        callables, sample_args = (callables,), (sample_args,)
    passes = [_Passes(fn, args) for fn, args in zip(callables, sample_args)]
    pool = graph_pool_handle() if pool is None else pool
    synchronize()
    with StreamContext(Stream()):
        for each in passes:
            for _ in range(num_warmup_iters):
                each.warm_up(allow_unused_input)
    synchronize()
    # what shares a pool is captured in the order in which it will run: all forward passes, then the backward ones from the last
    for each in passes:
        each.capture_forward(pool)
    for each in reversed(passes):
        each.capture_backward(pool, allow_unused_input)
    graphed = tuple(each.graphed() for each in passes)
    return graphed[0] if alone else graphed


class _Passes:
    """The forward and the backward pass of one callable, and the tensors that they read and write at every replay."""

    def __init__(self, fn, args):
        from ..nn import Module
        from ..tensor import Tensor

        self.fn, self.args, self.is_module = fn, args, isinstance(fn, Module)
        self.parameters = tuple(fn.parameters()) if self.is_module else ()
        if self.is_module:
            if fn._backward_hooks or fn._forward_hooks or fn._forward_pre_hooks:
                raise AssertionError("Modules must not have hooks registered at the time they are passed. However, registering "
                                     "hooks on modules after passing them through make_graphed_callables is allowed.")
            if any(b.requires_grad for b in fn.buffers()):
                raise AssertionError("In any :class:`~torch.nn.Module` passed to :func:`~make_graphed_callables`, only "
                                     "parameters may be trainable. All buffers must have ``requires_grad=False``.")
        arguments = tuple(_leaves(args))
        if not all(isinstance(a, Tensor) for a in arguments):
            raise AssertionError("In the beta API, sample_args for each callable must contain only Tensors. Other types are not "
                                 "allowed.")
        self.arguments = len(arguments)
        self.inputs = arguments + self.parameters
        self.forward, self.backward = CUDAGraph(), CUDAGraph()

    def _gradients(self, outputs, grad_outputs, allow_unused):
        from ..autograd import grad

        return grad([o for o in outputs if o.requires_grad], [i for i in self.inputs if i.requires_grad],
                    [g for g in grad_outputs if g is not None], allow_unused=allow_unused)

    @staticmethod
    def _room_for_gradients(outputs):
        from .. import empty_like

        return tuple(empty_like(o) if o.requires_grad else None for o in outputs)

    def warm_up(self, allow_unused):
        """Runs both passes, so that nothing that is done only once, such as compiling, is met in the captures."""
        outputs = list(_leaves(self.fn(*self.args)))
        if any(o.requires_grad for o in outputs):
            self._gradients(outputs, self._room_for_gradients(outputs), allow_unused)

    def capture_forward(self, pool):
        """The forward graph, from ``inputs`` to ``outputs``."""
        with graph(self.forward, pool=pool):
            self.result = self.fn(*self.args)
        self.outputs = tuple(_leaves(self.result))

    def capture_backward(self, pool, allow_unused):
        """The backward graph, from ``grad_outputs`` to ``grad_inputs``; None where there is no gradient."""
        self.grad_outputs, found = self._room_for_gradients(self.outputs), ()
        if any(g is not None for g in self.grad_outputs):
            with graph(self.backward, pool=pool):
                found = self._gradients(self.outputs, self.grad_outputs, allow_unused)
        found = iter(found)
        self.grad_inputs = tuple(next(found, None) if i.requires_grad else None for i in self.inputs)
        # from here on these are places in memory; what was recorded of them would keep the tape of the capture
        self.result = _rebuilt(self.result, iter([o.detach() for o in self.outputs]))
        self.outputs = tuple(_leaves(self.result))

    def graphed(self):
        """The callable that replays the graphs."""
        function = self._function()

        def replayed(*args):
            outputs = function.apply(*_leaves(args), *self.parameters)
            return _rebuilt(self.result, iter(outputs))
        if not self.is_module:
            return replayed
        module, training, before = self.fn, self.fn.training, self.fn.forward

        def forward(*args, **kwargs):
            return (replayed if module.training == training else before)(*args, **kwargs)
        module.forward = forward
        return module

    def _function(self):
        from ..autograd import Function, once_differentiable

        passes = self

        class Graphed(Function):
            """One node of the tape for all of the callable's work."""

            @staticmethod
            def forward(ctx, *inputs):
                for place, given in zip(passes.inputs[:passes.arguments], inputs):
                    _put(place, given)
                passes.forward.replay()
                return tuple(o.detach() for o in passes.outputs)

            @staticmethod
            @once_differentiable
            def backward(ctx, *gradients):
                for place, given in zip(passes.grad_outputs, gradients):
                    if place is not None:
                        _put(place, given)
                passes.backward.replay()
                return tuple(None if g is None else g.detach() for g in passes.grad_inputs)
        return Graphed


def _put(place, given):
    if place.data_ptr() != given.data_ptr():
        place.detach().copy_(given)


def _leaves(tree):
    """What is not a tuple, list or dict, in nested arguments or results."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        yield tree
        return
    for part in tree:
        yield from _leaves(part)


def _rebuilt(tree, leaves):
    """Nested results of the form of ``tree``, of other ``leaves``."""
    if isinstance(tree, dict):
        return type(tree)((key, _rebuilt(value, leaves)) for key, value in tree.items())
    if isinstance(tree, (tuple, list)):
        parts = [_rebuilt(part, leaves) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return next(leaves)
