"""Parameters as one vector, and back."""
from ...ops.join import cat


def parameters_to_vector(parameters):
    """All parameters' elements side by side, as one 1-d tensor."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec, parameters):
    """Writes the elements of ``vec`` into ``parameters``, in order."""
    at = 0
    for p in parameters:
        p.data = vec[at:at + p.numel()].view_as(p).data
        at += p.numel()
