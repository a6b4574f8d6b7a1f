"""``jit.freeze`` and ``jit.optimize_for_inference``: a module as one graph with its parameters as constants."""
from .module import Method, RecursiveScriptModule, ScriptModule
from .passes import attributes_as_constants, fold_batch_norm, inlined, simplify, written_attributes
from .schema import Schema


def freeze(mod, preserved_attrs=None, optimize_numerics=True):
    """A copy of a compiled module in which calls are put in place, and parameters, buffers and attributes are constants.

    Args:
        mod (ScriptModule): in eval mode.
        preserved_attrs (list of str): attributes and methods to keep beside forward; an attribute stays one.
        optimize_numerics (bool): work batch normalisations into the convolutions and linear layers before them, which changes
            results in the last digits.

    Returns:
        A ScriptModule without parameters.

    Raises:
        RuntimeError: ``mod`` is no ScriptModule, or in training mode.
    """
    if not isinstance(mod, ScriptModule):
        raise RuntimeError("Freezing expects a ScriptModule as input. Please use torch.jit.script or torch.jit.trace to script "
                           "your "
                           "'nn.Module'.")
    if mod.training:
        raise RuntimeError("Freezing is currently only implemented for modules in eval mode. Please call .eval() on your module "
                           "before "
                           "freezing.")
    found = RecursiveScriptModule._of(mod._type_name)
    found.__dict__["training"] = False
    preserved = list(preserved_attrs or ())
    methods = ["forward"] if "forward" in mod._methods else []
    for name in preserved:
        if name in mod._methods:
            methods.append(name)
        else:
            _keep(mod, found, name)
    graphs = {name: inlined(mod._methods[name].graph, mod) for name in methods}
    kept = {n for n in preserved if n not in mod._methods}.union(*map(written_attributes, graphs.values()))
    for name, graph in graphs.items():
        method = mod._methods[name]
        attributes_as_constants(graph, mod, kept)
        simplify(graph)
        if optimize_numerics:
            fold_batch_norm(graph)
        graph.name_values()
        found._methods[name] = Method(name, graph, Schema(name, method.schema.arguments, method.schema.returns))
        _keep_written(graph, mod, found)
    return found


def _keep(mod, found, name):
    """Takes an attribute over as it is."""
    if name in mod._parameters:
        found._parameters[name] = mod._parameters[name]
    elif name in mod._buffers:
        found._buffers[name] = mod._buffers[name]
    elif name in mod._modules:
        found._modules[name] = mod._modules[name]
    elif name in mod._script_attributes:
        found.__dict__[name] = getattr(mod, name)
        found._script_attributes[name] = mod._script_attributes[name]
    elif name != "training":
        raise RuntimeError(f"freeze: '{name}' is neither an attribute nor a method of the module")


def _keep_written(graph, mod, found):
    """Takes over what a frozen graph still reads or writes of the module: what it changes."""
    for node in graph.all_nodes():
        if node.kind_ in ("prim::GetAttr", "prim::SetAttr") and node.args[0] is graph.params[0]:
            name = node.attrs["name"]
            if name != "training" and name not in found._modules and not hasattr(found, name):
                _keep(mod, found, name)


def optimize_for_inference(mod, other_methods=None):
    """``mod`` frozen, if it is not so already, for running without gradients.

    Args:
        mod (ScriptModule): in eval mode. other_methods (list of str): methods to keep beside forward.
    """
    if not isinstance(mod, ScriptModule):
        raise RuntimeError("optimize_for_inference expects ScriptModule as input. Please use torch.jit.script or "
                           "torch.jit.trace to "
                           "script your 'nn.Module'.")
    if not hasattr(mod, "training") or not mod._parameters and not mod._buffers and not mod._modules:
        return mod
    return freeze(mod.eval() if not mod.training else mod, preserved_attrs=other_methods)


def run_frozen_optimizations(mod, optimize_numerics=True, preserved_methods=None):
    """Works batch normalisations into the layers before them, in a frozen module's graphs.

    Args:
        mod (ScriptModule): what ``freeze`` gave. optimize_numerics (bool): False leaves the module as it is.
        preserved_methods (list of str): further methods.
    """
    for name in ["forward", *(preserved_methods or ())] if optimize_numerics else ():
        method = mod._methods[name]
        graph = method.graph.copy()
        fold_batch_norm(graph)
        graph.name_values()
        mod._methods[name] = Method(name, graph, method.schema)
