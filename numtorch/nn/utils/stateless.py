"""Calls a module with other parameters and buffers than its own."""
import warnings

__all__ = ["functional_call"]


def _place(module, name):
    """The table of a module's tensors that holds ``name``, and the last part of the name; KeyError names what is not there."""
    path, _, own = name.rpartition(".")
    try:
        module = module.get_submodule(path)
    except AttributeError:
        raise KeyError(name) from None
    for table in (module._parameters, module._buffers):
        if own in table:
            return table, own
    return None, own


def call_with(module, tensors, args, kwargs, tie_weights=True, strict=False):
    """The module's result with ``tensors`` (by full name) in place of its own; names that share a tensor share the new one."""
    members = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
    unexpected = [name for name in tensors if name not in members]
    missing = [name for name in members if name not in tensors]
    if strict and (unexpected or missing):
        texts = [f"{what} key(s): {', '.join(names)}." for what, names in (("Unexpected", unexpected), ("Missing", missing))
                 if names]
        raise RuntimeError("Error(s) in overriding module state:\n\t" + "\n\t".join(texts))
    new = {name: value for name, value in tensors.items() if name in members}
    if tie_weights:
        by_member = {id(members[name]): value for name, value in new.items()}
        new.update({name: by_member[id(member)] for name, member in members.items()
                    if name not in new and id(member) in by_member})
    before = []
    try:
        for name, value in new.items():
            table, own = _place(module, name)
            before.append((table, own, table[own]))
            table[own] = value
        return module(*args, **kwargs)
    finally:
        for table, own, value in reversed(before):
            table[own] = value


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """The result of a module with other parameters and buffers.

    Args:
        module (Module): what is called.
        parameters_and_buffers (dict): tensors by full name; what is not in it stays.
        args: the positional arguments, a tuple, or the only one.
        kwargs (dict): the keyword arguments.
        tie_weights (bool): names that share a tensor share the new one.
        strict (bool): RuntimeError for names that are missing or unknown.
    """
    warnings.warn("This API is deprecated as of PyTorch 2.0 and will be removed in a future version of PyTorch. Please use "
                  "torch.func.functional_call instead which is a drop-in replacement for this API.", FutureWarning,
                  stacklevel=2)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    return call_with(module, parameters_and_buffers, args, kwargs or {}, tie_weights, strict)
