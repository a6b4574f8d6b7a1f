"""L-BFGS."""
import numpy as np

from ..autograd.grad_mode import enable_grad, no_grad
from ..tensor import Tensor, wrap
from .optimizer import Optimizer, advance_version


class LBFGS(Optimizer):
    """L-BFGS (Nocedal and Wright, algorithm 7.5), after minFunc: a quasi-Newton step from the last
    history_size gradients.

    It evaluates the closure several times a step, takes one group of parameters, and keeps history_size
    pairs of vectors as long as all parameters.

    Args:
        params: tensors or (name, tensor) pairs.
        lr (float or Tensor): length of the step, or with a line search its first trial.
        max_iter (int): iterations in one ``step``.
        max_eval (int): evaluations in one ``step``, 5 / 4 max_iter if left out.
        tolerance_grad, tolerance_change (float): stop where the largest gradient, or the change, is at most
            this.
        history_size (int): pairs kept.
        line_search_fn: None, or ``"strong_wolfe"``.

    >>> import numtorch as torch
    >>> w = torch.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (w * w).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> bool((w.abs() < 1e-6).all())
    True
    """

    def __init__(self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
                 history_size=100, line_search_fn=None):
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, dict(lr=lr, max_iter=max_iter, max_eval=max_eval,
                                      tolerance_grad=tolerance_grad,
                                      tolerance_change=tolerance_change, history_size=history_size,
                                      line_search_fn=line_search_fn))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    # Vectors over all parameters are ndarrays here, and tensors in ``state``; a complex number counts as two
    # reals.

    def _gather(self):
        """All gradients as one vector."""
        return np.concatenate([_reals(p._grad._a if p._grad is not None else np.zeros_like(p._a))
                               for p in self._params])

    def _place(self, start, t=0.0, direction=None):
        """Sets the parameters to ``start`` (one vector of reals for each) + t direction."""
        at = 0
        for p, base in zip(self._params, start):
            if direction is not None:
                base = base + (t * direction[at:at + base.size]).astype(base.dtype, copy=False)
                at += base.size
            p._a[...] = base.view(p._a.dtype).reshape(p._a.shape)
            advance_version(p)

    @no_grad()
    def step(self, closure):
        """Up to max_iter iterations.

        Args:
            closure (callable): clears the gradients, computes the loss, calls backward, and returns the
                loss.

        Returns:
            The loss that the first call of the closure returned.
        """
        group, state = self.param_groups[0], self.state[self._params[0]]
        lr, tolerance_change, search = float(group["lr"]), group["tolerance_change"], group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluate():
            with enable_grad():
                return closure()

        first_loss = evaluate()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        gradient = self._gather()
        if _largest(gradient) <= group["tolerance_grad"]:
            return first_loss
        memory = _Memory(state, gradient)
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            memory.update(gradient, group["history_size"], first=state["n_iter"] == 1)
            before, memory.prev_loss = loss, loss
            t = min(1.0, 1.0 / float(np.abs(gradient).sum())) * lr if state["n_iter"] == 1 else lr
            slope = gradient @ memory.d
            if slope > -tolerance_change:
                memory.t = t
                break
            start, used = [_reals(p._a).copy() for p in self._params], 0
            if search == "strong_wolfe":
                def trial(length):
                    self._place(start, length, memory.d)
                    return float(evaluate()), self._gather()

                loss, gradient, t, used = _strong_wolfe(trial, t, memory.d, loss, gradient, slope)
                self._place(start, t, memory.d)
            else:
                self._place(start, t, memory.d)
                if iterations != group["max_iter"]:
                    loss, gradient, used = float(evaluate()), self._gather(), 1
            memory.t = t
            evaluations += used
            state["func_evals"] += used
            if (iterations == group["max_iter"] or evaluations >= group["max_eval"]
                    or _largest(gradient) <= group["tolerance_grad"]
                or _largest(memory.d * t) <= tolerance_change
                    or abs(loss - before) < tolerance_change):
                break
        memory.save(state)
        return first_loss


class _Memory:
    """The direction d, and the pairs (change of gradient, change of place) that approximate the inverse
    Hessian."""

    def __init__(self, state, gradient):
        self.d, self.t = _array(state.get("d")), state.get("t")
        self.changes = [_array(y) for y in state.get("old_dirs") or []]
        self.steps = [_array(s) for s in state.get("old_stps") or []]
        self.ro = [r.item() if isinstance(r, Tensor) else r for r in state.get("ro") or []]
        self.scale = state.get("H_diag", 1)
        self.scale = self.scale.item() if isinstance(self.scale, Tensor) else self.scale
        self.prev_gradient, self.prev_loss = _array(state.get("prev_flat_grad")), state.get("prev_loss")
        self.dtype = gradient.dtype

    def update(self, gradient, history_size, first):
        """Takes in the newest gradient and sets d = -H gradient by the two-loop recursion."""
        if first:
            self.d, self.changes, self.steps, self.ro, self.scale = -gradient, [], [], [], 1
        else:
            y, s = gradient - self.prev_gradient, self.d * float(self.t)
            ys = y @ s
            # else the curvature is not positive: keep the pairs as they are
            if ys > 1e-10:
                if len(self.changes) == history_size:
                    del self.changes[0], self.steps[0], self.ro[0]
                self.changes.append(y)
                self.steps.append(s)
                self.ro.append(1.0 / ys)
                self.scale = ys / (y @ y)
            q, alphas = -gradient, []
            for y, s, ro in zip(reversed(self.changes), reversed(self.steps), reversed(self.ro)):
                alphas.append((s @ q) * ro)
                q = q - alphas[-1] * y
            q = q * self.scale
            for y, s, ro, alpha in zip(self.changes, self.steps, self.ro, reversed(alphas)):
                q = q + s * (alpha - (y @ q) * ro)
            self.d = q
        self.prev_gradient = gradient.copy()

    def save(self, state):
        """Writes everything to the optimiser's state, in torch's names."""
        def scalar(x):
            return wrap(np.array(x, self.dtype))

        state.update(d=wrap(self.d), t=self.t, old_dirs=[wrap(y) for y in self.changes],
                     old_stps=[wrap(s) for s in self.steps], ro=[scalar(r) for r in self.ro],
                     H_diag=self.scale if self.scale == 1 else scalar(self.scale),
                     prev_flat_grad=wrap(self.prev_gradient), prev_loss=self.prev_loss)


def _reals(a):
    """The elements in row-major order as one vector of reals."""
    flat = np.ascontiguousarray(a if isinstance(a, np.ndarray) else a.on_host()).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _array(tensor):
    return None if tensor is None else tensor._a


def _largest(vector):
    return float(np.abs(vector).max()) if vector.size else 0.0


def _cubic_minimum(one, other, bounds=None):
    """Where the cubic through two points (place, value, gradient, slope) is least, kept within the
    bounds."""
    (x1, f1, _, g1), (x2, f2, _, g2) = sorted((one, other), key=lambda point: point[0])
    low, high = bounds or (x1, x2)
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square ** 0.5
    found = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    return float(min(max(found, low), high))


def _strong_wolfe(evaluate, t, d, f, g, slope, c1=1e-4, c2=0.9, tolerance_change=1e-9, max_steps=25):
    """A step length with enough descent and a flat enough slope (strong Wolfe conditions), after minFunc.

    The step is lengthened until it brackets such a point; then the bracket is narrowed by cubic
    interpolation.

    Args:
        evaluate: step length -> (loss, gradient).
        t: first trial; d: direction; f, g, slope: loss, gradient and slope along d at 0.

    Returns:
        (loss, gradient, step length, evaluations).
    """
    def trial(length):
        loss, gradient = evaluate(length)
        return length, loss, gradient, gradient @ d

    def enough(point):
        return point[1] <= f + c1 * point[0] * slope

    previous, new, steps, done = (0.0, f, g, slope), trial(t), 0, False
    bracket = [previous, new]
    while steps < max_steps:
        bracket = [previous, new]
        if not enough(new) or (steps > 1 and new[1] >= previous[1]):
            break
        if abs(new[3]) <= -c2 * slope:
            bracket, done = [new], True
            break
        if new[3] >= 0:
            break
        bounds = (new[0] + 0.01 * (new[0] - previous[0]), new[0] * 10)
        longer = _cubic_minimum(previous, new, bounds)
        previous, new, steps = new, trial(longer), steps + 1
    else:
        bracket = [(0.0, f, g, slope), new]
    evaluations, stuck = steps + 1, False
    low = 0 if bracket[0][1] <= bracket[-1][1] else 1
    while not done and steps < max_steps:
        left, right = sorted(point[0] for point in bracket)
        if (right - left) * _largest(d) < tolerance_change:
            break
        t = _cubic_minimum(*bracket)
        margin = 0.1 * (right - left)
        # too near to an end: let it pass once, then keep away from it
        if min(right - t, t - left) < margin:
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new, steps, evaluations = trial(t), steps + 1, evaluations + 1
        if not enough(new) or new[1] >= bracket[low][1]:
            bracket[1 - low] = new
            low = 0 if bracket[0][1] <= bracket[1][1] else 1
        else:
            if abs(new[3]) <= -c2 * slope:
                done = True
            elif new[3] * (bracket[1 - low][0] - bracket[low][0]) >= 0:
                bracket[1 - low] = bracket[low]
            bracket[low] = new
    t, loss, gradient, _ = bracket[low]
    return loss, gradient, t, evaluations
