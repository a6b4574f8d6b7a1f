"""Copies of a module on several devices, through which gradients reach the original."""
from .scatter_gather import device_of

__all__ = ["replicate"]


def replicate(network, devices, detach=False):
    """Copies of ``network``, one a device, whose parameters are functions of the original's.

    Args:
        network (Module): the original.
        devices (list): where to.
        detach (bool): no gradients reach the original.

    Returns:
        list of Module: their parameters are plain attributes, as they are no leaves. On the original's device buffers are the
        original's, so that what a module writes to them stays.
    """
    return [_replica(network, device_of(d), detach, {}) for d in devices]


def _replica(module, where, detach, made):
    if id(module) in made:
        return made[id(module)]
    found = made[id(module)] = type(module).__new__(type(module))
    found.__setstate__(module.__getstate__())
    parameters, buffers, children = found._parameters, found._buffers, found._modules
    found._parameters, found._buffers, found._modules = {}, {}, {}
    for name, parameter in parameters.items():
        if parameter is None:
            found._parameters[name] = None
        else:
            value = parameter.to(where)
            setattr(found, name, value.detach() if detach else value.view_as(value))
    for name, buffer in buffers.items():
        found._buffers[name] = None if buffer is None else buffer.to(where)
    for name, child in children.items():
        found._modules[name] = None if child is None else _replica(child, where, detach, made)
    return found
