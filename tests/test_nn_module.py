"""Module and containers: every snippet runs with numtorch and with torch, and both must give the same result or error."""
import collections
import copy
import gc
import pickle
import re
import warnings
import weakref

import pytest

import numtorch as nt

torch = pytest.importorskip("torch")

SNIPPETS = []


def snippet(fn):
    SNIPPETS.append(fn)
    return fn


def plain(value):
    """A result as something that compares equal across the libraries."""
    if isinstance(value, (nt.Tensor, torch.Tensor)):
        return ["tensor", tuple(value.shape), str(value.dtype), value.requires_grad,
                [round(x, 4) for x in value.detach().double().reshape(-1).tolist()]]
    if isinstance(value, dict):
        return [type(value).__name__, [(k, plain(v)) for k, v in value.items()]]
    if isinstance(value, (list, tuple, set)) or hasattr(value, "__next__"):
        return [plain(v) for v in value]
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, (nt.nn.Module, torch.nn.Module)):
        return repr(value)
    return value if value is None or isinstance(value, (int, float, str, bool)) else repr(value)


def names_removed(text):
    """A message without what cannot be the same: package names and addresses."""
    text = re.sub(r"0x[0-9a-f]+", "0x", str(text).replace("numtorch.", "torch."))
    return re.sub(r"torch\.nn\.modules\.\w+\.", "torch.nn.modules.", text)


def outcome(fn, library):
    library.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = plain(fn(library, library.nn))
        except Exception as error:
            found = type(error).__name__, names_removed(error.args[0] if error.args else "")
    return found, sorted({names_removed(w.message) for w in caught})


def net(nn):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(3, 4)
            self.act = nn.ReLU()
            self.block = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))

        def forward(self, x):
            return self.block(self.act(self.fc1(x)))
    return Net()


# ---- attributes --------------------------------------------------------------------------------------------------------

@snippet
def attributes_are_registered_by_kind(torch, nn):
    m = nn.Module()
    m.p, m.m, m.b, m.x = nn.Parameter(torch.ones(2)), nn.ReLU(), nn.Buffer(torch.zeros(1)), torch.ones(1)
    return list(m._parameters), list(m._modules), list(m._buffers), m.p, m.m, m.b, m.x, "x" in m.__dict__


@snippet
def an_attribute_changes_its_kind(torch, nn):
    m = nn.Module()
    m.a = 1
    m.a = nn.Parameter(torch.ones(2))
    first = list(m._parameters), list(m._modules)
    m.b = nn.ReLU()
    m.b = nn.Parameter(torch.ones(1))
    m.c = nn.Parameter(torch.ones(1))
    m.c = nn.ReLU()
    m.register_buffer("d", torch.ones(1), persistent=False)
    m.d = nn.Tanh()
    return first, list(m._parameters), list(m._modules), list(m._buffers), m._non_persistent_buffers_set, m.a, m.b, m.c


@snippet
def parameters_modules_and_buffers_become_none(torch, nn):
    m = nn.Linear(2, 2)
    m.bias = None
    m.child, m.buf = nn.ReLU(), nn.Buffer(torch.ones(1))
    m.child, m.buf = None, None
    return m.bias, m.child, m.buf, list(m.state_dict()), m(torch.ones(1, 2)), m


@snippet
def deleted_attributes_are_gone(torch, nn):
    m = net(nn)
    del m.fc1, m.block
    m.register_buffer("b", torch.ones(1), False)
    del m.b
    m.x = 1
    del m.x
    return m, hasattr(m, "fc1"), hasattr(m, "b"), m._non_persistent_buffers_set


@snippet
def deleting_what_is_not_there(torch, nn):
    del net(nn).nothing


@snippet
def reading_what_is_not_there(torch, nn):
    return net(nn).nothing


@snippet
def reading_what_is_not_there_from_a_property(torch, nn):
    class M(nn.Module):
        @property
        def p(self):
            return self.missing
    return M().p


@snippet
def writing_to_the_tables_is_seen(torch, nn):
    m = net(nn)
    m._parameters["new"] = nn.Parameter(torch.ones(1))
    m._modules["fc1"] = nn.Linear(1, 1)
    m._buffers.update(z=torch.zeros(2))
    before = m.new, m.fc1, m.z
    del m._parameters["new"]
    m._buffers.pop("z")
    m._modules.clear()
    return before, hasattr(m, "new"), hasattr(m, "z"), hasattr(m, "fc1"), m


@snippet
def replacing_a_table_is_seen(torch, nn):
    m = nn.Linear(2, 2)
    m._parameters = collections.OrderedDict(weight=nn.Parameter(torch.ones(1)))
    return m.weight, hasattr(m, "bias"), list(m.named_parameters())


@snippet
def more_methods_of_the_tables(torch, nn):
    m = nn.Linear(2, 2)
    p = nn.Parameter(torch.zeros(1))
    found = m._parameters.setdefault("c", p) is p, m._parameters.setdefault("c", None) is p, m.c is p
    last = m._parameters.popitem()[0]
    m._parameters |= {"e": p}
    return found, last, m.e is p, m._parameters.pop("nothing", 5), list(m._parameters.copy())


@snippet
def a_class_attribute_hides_a_module(torch, nn):
    class M(nn.Module):
        thing = 5
    m = M()
    m.thing = nn.ReLU()
    return m.thing, m._modules["thing"]


@snippet
def a_property_sets_a_parameter_under_another_name(torch, nn):
    class M(nn.Module):
        @property
        def w(self):
            return self._w

        @w.setter
        def w(self, value):
            self._w = value
    m = M()
    m._w = nn.Parameter(torch.ones(2))
    return m.w, list(m.named_parameters())


@snippet
def shallow_copies_share_the_tables(torch, nn):
    m = nn.Linear(2, 2)
    other = copy.copy(m)
    other.weight = nn.Parameter(torch.zeros(1))
    return m.weight, other.weight, other._parameters["weight"] is m._parameters["weight"]


@snippet
def assigning_a_tensor_to_a_parameter(torch, nn):
    nn.Linear(2, 2).weight = torch.ones(2)


@snippet
def assigning_a_number_to_a_module(torch, nn):
    net(nn).fc1 = 3


@snippet
def assigning_a_module_to_a_parameter_of_a_module(torch, nn):
    net(nn).act = nn.Parameter(torch.ones(1))


@snippet
def assigning_a_number_to_a_buffer(torch, nn):
    nn.BatchNorm1d(2).running_mean = 3


@snippet
def before_init_parameters(torch, nn):
    class M(nn.Module):
        def __init__(self):
            self.p = nn.Parameter(torch.ones(1))
    M()


@snippet
def before_init_modules(torch, nn):
    class M(nn.Module):
        def __init__(self):
            self.m = nn.ReLU()
    M()


@snippet
def before_init_buffers(torch, nn):
    class M(nn.Module):
        def __init__(self):
            self.register_buffer("b", torch.ones(1))
    M()


@snippet
def before_init_plain_attributes(torch, nn):
    class M(nn.Module):
        def __init__(self):
            self.x = torch.ones(1)
            super().__init__()
    return M().x


@snippet
def arguments_of_module_init(torch, nn):
    nn.Module(3)


@snippet
def keywords_of_module_init(torch, nn):
    nn.Module(x=3)


@snippet
def missing_forward(torch, nn):
    nn.Module()(1)


for code in ("m.register_parameter('a.b', None)", "m.register_parameter('', None)", "m.register_parameter(3, None)",
             "m.register_parameter('training', None)", "m.register_parameter('p', torch.ones(1))",
             "m.register_parameter('p', nn.Parameter(torch.ones(1)) * 2)", "m.register_buffer('a.b', None)",
             "m.register_buffer('', None)", "m.register_buffer(3, None)", "m.register_buffer('fc1', None)",
             "m.register_buffer('x', 4)", "m.add_module('a.b', nn.ReLU())", "m.add_module('', nn.ReLU())",
             "m.add_module(3, nn.ReLU())", "m.add_module('x', 3)", "m.register_module('forward', nn.ReLU())",
             "m.get_submodule('block.1')", "m.get_submodule('block.7')", "m.get_submodule('fc1.weight')",
             "m.get_submodule('') is m", "m.get_parameter('fc1.weight')", "m.get_parameter('fc1.nothing')",
             "m.get_parameter('block.0.running_mean')", "m.get_buffer('block.0.running_mean')", "m.get_buffer('fc1.weight')",
             "m.set_submodule('block.1', nn.Tanh()) or m", "m.set_submodule('', nn.Tanh())",
             "m.set_submodule('fc1.weight', nn.Tanh())", "m.set_submodule('new', nn.Tanh(), strict=True)",
             "m.set_submodule('fc1', 4)", "m.train('yes')", "m.to(torch.int64)", "m.to(torch.float64).fc1.weight",
             "m.to(dtype=torch.float16).block[0].running_mean", "m.double().block[0].num_batches_tracked",
             "m.half().fc1.bias", "m.bfloat16().fc1.bias.dtype", "m.float().fc1.bias.dtype",
             "m.type(torch.float64).fc1.bias", "m.to(torch.zeros(1, dtype=torch.float64)).fc1.bias",
             "m.to('cpu').fc1.bias", "m.cpu() is m", "m.to(device='cpu', dtype=torch.float64).fc1.bias",
             "m.eval().training, m.block.training, m.block[0].training", "m.train().block[0].training",
             "m.requires_grad_(False).fc1.weight.requires_grad", "m.load_state_dict(3)", "m.fc1.register_buffer('weight', None)",
             "[n for n, _ in m.named_parameters()]", "[n for n, _ in m.named_parameters('pre')]",
             "[n for n, _ in m.named_parameters(recurse=False)]", "[n for n, _ in m.named_buffers()]",
             "[n for n, _ in m.named_modules()]", "[n for n, _ in m.named_modules(prefix='a')]", "[n for n, _ in m.named_children()]",
             "[type(c) for c in m.children()]", "[type(c) for c in m.modules()]", "len(list(m.buffers()))", "m.extra_repr()",
             "m._get_name()", "m.get_extra_state()", "m.set_extra_state(1)", "nn.factory_kwargs({'x': 1})",
             "nn.factory_kwargs({'dtype': 1, 'factory_kwargs': {'dtype': 2}})", "nn.factory_kwargs({'dtype': 1})",
             "nn.Parameter(torch.tensor([1, 2]))", "nn.Parameter(torch.tensor([1, 2]), requires_grad=False)", "nn.Parameter()",
             "nn.Parameter([1.0])", "nn.Parameter(torch.ones(2), False).requires_grad", "nn.Linear(2, 2, bias=None)",
             "isinstance(nn.Buffer(torch.ones(1)), nn.Buffer)", "isinstance(torch.ones(1), nn.Buffer)",
             "type(nn.Parameter(torch.ones(1)) * 1)", "type(nn.Parameter(torch.ones(1)).data)", "nn.Parameter(torch.ones(2)).grad_fn",
             "nn.Dropout(1.5)", "nn.Conv2d(3, 4, 3, groups=2)", "nn.Conv2d(3, 3, 3, groups=0)",
             "nn.Conv2d(1, 1, 3, 2, padding='same')", "nn.ConvTranspose2d(1, 1, 3, padding_mode='reflect')",
             "nn.GroupNorm(3, 4)", "nn.BatchNorm2d(2)(torch.ones(2, 2))", "nn.BatchNorm1d(2)(torch.ones(2, 2, 2, 2))",
             "nn.BatchNorm1d(2)(torch.ones(1, 2))", "nn.BatchNorm1d(2)(torch.ones(2, 3))",
             "nn.InstanceNorm2d(2)(torch.ones(2, 2))", "nn.InstanceNorm1d(3, affine=True)(torch.ones(2, 2, 4))",
             "nn.Linear(3, 2)(torch.ones(2, 4))", "nn.Embedding(3, 2, padding_idx=5)", "nn.Unflatten('a', 3)",
             "nn.Unflatten(1, 3)", "nn.Unflatten(1, (2, 'a'))", "nn.MultiheadAttention(5, 2)", "nn.MultiheadAttention(0, 2)",
             "nn.Bilinear(0, 2, 2)", "nn.TransformerEncoderLayer(4, 2, activation='tanh')", "nn.Hardtanh(2, 1)",
             "nn.Embedding.from_pretrained(torch.ones(2, 3)).weight", "nn.Embedding.from_pretrained(torch.ones(2))",
             "nn.Hardtanh(min_value=-2.0)", "nn.L1Loss(size_average=False)", "nn.MSELoss(reduce=False).reduction",
             "nn.MultiMarginLoss(3)", "nn.TripletMarginLoss(-1)", "nn.NLLLoss2d()", "nn.Softmax2d()(torch.ones(2, 2))",
             "nn.CircularPad2d(1)(torch.ones(2, 2))", "nn.PReLU(3)(torch.ones(2, 2))",
             "nn.Transformer.generate_square_subsequent_mask(3)", "nn.ConvTranspose1d(1, 1, 3, 2)(torch.ones(1, 1, 4), [10]).shape",
             "nn.ConvTranspose1d(1, 1, 3, 2)(torch.ones(1, 1, 4), [20])",
             "nn.ConvTranspose1d(1, 1, 3, 2)(torch.ones(1, 1, 4), [2, 3, 4, 5])", "nn.LazyConv2d(1, 2)(torch.ones(2))",
             "nn.LazyLinear(2).weight.shape", "nn.LazyLinear(2).weight", "nn.LazyLinear(2).double().weight.dtype",
             "nn.LazyLinear(2).has_uninitialized_params()", "copy.deepcopy(nn.LazyLinear(2))",
             "nn.LazyLinear(2).load_state_dict(nn.Linear(3, 2).state_dict())", "nn.Linear(3, 2).load_state_dict(nn.LazyLinear(2).state_dict())",
             "m.share_memory() is m"):
    def run(torch, nn, code=code):
        m = net(nn)
        return eval(code, {**globals(), "torch": torch, "nn": nn, "m": m})
    run.__name__ = code
    snippet(run)


# ---- state dicts -------------------------------------------------------------------------------------------------------

@snippet
def state_dict_of_a_net(torch, nn):
    m = net(nn)
    state = m.state_dict(prefix="p.")
    return state, state._metadata, m.state_dict(keep_vars=True)["fc1.weight"] is m.fc1.weight


@snippet
def positional_arguments_of_state_dict(torch, nn):
    return list(nn.Linear(1, 1).state_dict(collections.OrderedDict(), "a."))


@snippet
def loading_into_the_wrong_net(torch, nn):
    state = net(nn).state_dict()
    state["extra.weight"] = torch.ones(1)
    state["fc1.weight"] = torch.ones(2, 2)
    state["block.0.weight"] = "text"
    del state["fc1.bias"], state["block.0.running_mean"]
    net(nn).load_state_dict(state)


@snippet
def loading_what_fits_only(torch, nn):
    state = net(nn).state_dict()
    state["extra"] = torch.ones(1)
    del state["fc1.bias"]
    return net(nn).load_state_dict(state, strict=False)


@snippet
def loading_copies_and_assign_replaces(torch, nn):
    m = nn.Linear(2, 1)
    w = m.weight
    state = {"weight": torch.ones(1, 2, dtype=torch.float64), "bias": torch.zeros(1)}
    first = m.load_state_dict(state), m.weight is w, m.weight, m.bias
    m.load_state_dict(state, assign=True)
    return first, m.weight is w, m.weight, m.bias


@snippet
def a_scalar_parameter_takes_a_tensor_of_one_element(torch, nn):
    m = nn.Module()
    m.p = nn.Parameter(torch.tensor(1.0))
    return m.load_state_dict({"p": torch.tensor([3.0])}), m.p


@snippet
def an_old_batch_norm_has_no_counter(torch, nn):
    state = nn.BatchNorm1d(2).state_dict()
    del state["num_batches_tracked"]
    first = nn.BatchNorm1d(2).load_state_dict(dict(state))
    nn.BatchNorm1d(2).load_state_dict(state)
    return first


@snippet
def an_old_instance_norm_has_statistics(torch, nn):
    nn.InstanceNorm1d(2).load_state_dict({"running_mean": torch.ones(2), "running_var": torch.ones(2)})


@snippet
def buffers_that_are_not_persistent_stay_out(torch, nn):
    m = nn.Module()
    m.register_buffer("a", torch.ones(1))
    m.register_buffer("b", torch.ones(1), persistent=False)
    m.c = nn.Buffer(torch.ones(1), persistent=False)
    m.b = torch.zeros(1)
    return m.state_dict(), [n for n, _ in m.named_buffers()], m.load_state_dict({"a": torch.zeros(1)})


@snippet
def extra_state_travels(torch, nn):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]
    m, other = nn.Sequential(M()), nn.Sequential(M())
    m[0].count = 5
    other.load_state_dict(m.state_dict())
    return m.state_dict(), other[0].count


@snippet
def extra_state_that_is_missing(torch, nn):
    class M(nn.Module):
        def get_extra_state(self):
            return 1

        def set_extra_state(self, state):
            return None
    M().load_state_dict({})


@snippet
def extra_state_that_nobody_wants(torch, nn):
    nn.ReLU().load_state_dict({"_extra_state": 1})


@snippet
def hooks_of_state_dicts(torch, nn):
    m, seen = nn.Sequential(nn.Linear(1, 1)), []
    m.register_state_dict_pre_hook(lambda module, prefix, keep_vars: seen.append(("pre", prefix, keep_vars)))
    m[0].register_state_dict_post_hook(lambda module, state, prefix, meta: seen.append(("post", list(state), prefix)))
    m._register_state_dict_hook(lambda module, state, prefix, meta: {**state, "more": 1})
    m.register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: seen.append((type(module), prefix, len(rest))))
    handle = m.register_load_state_dict_post_hook(lambda module, keys: keys.unexpected_keys.clear())
    state = m.state_dict()
    first = m.load_state_dict(state)
    handle.remove()
    return list(state), seen, first, m.load_state_dict(state, strict=False)


@snippet
def a_post_hook_that_returns_something(torch, nn):
    m = nn.Linear(1, 1)
    m.register_state_dict_post_hook(lambda *args: 1)
    m.state_dict()


@snippet
def a_load_hook_that_returns_something(torch, nn):
    m = nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(lambda *args: 1)
    m.load_state_dict(m.state_dict())


# ---- shared parts, walks, modes ----------------------------------------------------------------------------------------

@snippet
def shared_parameters_count_once(torch, nn):
    a = nn.Linear(2, 2)
    m = nn.Sequential(a, a, nn.Linear(2, 2))
    m[2].weight = a.weight
    return ([n for n, _ in m.named_parameters()], [n for n, _ in m.named_parameters(remove_duplicate=False)],
            [n for n, _ in m.named_modules()], [n for n, _ in m.named_modules(remove_duplicate=False)],
            len(list(m.parameters())), [n for n, _ in m.named_children()], list(m.state_dict()), m)


@snippet
def apply_goes_from_the_leaves_up(torch, nn):
    seen = []
    m = net(nn)
    return m.apply(lambda module: seen.append(type(module).__name__)) is m, seen


@snippet
def gradients_are_removed_or_zeroed(torch, nn):
    m = nn.Linear(2, 1)
    m(torch.ones(1, 2)).sum().backward()
    first = m.weight.grad
    m.zero_grad(set_to_none=False)
    second = m.weight.grad
    m.zero_grad()
    return first, second is first, second, m.weight.grad


@snippet
def conversion_keeps_the_parameter_objects(torch, nn):
    m = nn.Linear(2, 1)
    w = m.weight
    m(torch.ones(1, 2)).sum().backward()
    m.double()
    return m.weight is w, w, w.grad, m(torch.ones(1, 2, dtype=torch.float64)).dtype


@snippet
def to_empty_keeps_shapes(torch, nn):
    m = nn.Linear(2, 3).to_empty(device="cpu")
    return m.weight.shape, m.weight.requires_grad, type(m.weight)


@snippet
def deepcopy_is_independent(torch, nn):
    m = net(nn)
    m.fc1.note = [1]
    m(torch.ones(2, 3)).sum().backward()
    other = copy.deepcopy(m)
    with torch.no_grad():
        other.fc1.weight.zero_()
    other.fc1.note.append(2)
    return m.fc1.weight, other.fc1.weight, other.fc1.weight.grad, m.fc1.note, other, other.fc1._parameters["weight"] is other.fc1.weight


@snippet
def deepcopy_keeps_what_is_tied(torch, nn):
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    m[1].weight = m[0].weight
    other = copy.deepcopy(m)
    return other[0].weight is other[1].weight, other[0].weight is m[0].weight


@snippet
def pickle_gives_it_back(torch, nn):
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LSTM(2, 2))
    other = pickle.loads(pickle.dumps(m))
    return other, other.state_dict(), other[0].weight is other[0]._parameters["weight"]


@snippet
def getstate_of_a_user(torch, nn):
    class M(nn.Linear):
        def __getstate__(self):
            state = self.__dict__.copy()
            state["was_copied"] = True
            return state
    m = copy.deepcopy(M(2, 1))
    m.weight = nn.Parameter(torch.ones(1, 2))
    return m.was_copied, m.weight, m._parameters["weight"] is m.weight, m(torch.ones(1, 2))


@snippet
def dir_lists_everything(torch, nn):
    m = nn.Sequential(nn.Linear(1, 1))
    m.extra = nn.Parameter(torch.ones(1))
    return [n for n in ("extra", "forward", "training", "0") if n in dir(m)], [n in dir(nn.Linear(1, 1)) for n in ("weight", "bias")]


@snippet
def printing_nested_modules(torch, nn):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(1, 1), None
            self.register_module("c", None)

        def extra_repr(self):
            return "line one\nline two"
    return repr(nn.ModuleList([Two(), Two(), nn.ReLU()])), repr(Two())


# ---- hooks -------------------------------------------------------------------------------------------------------------

@snippet
def forward_hooks_change_arguments_and_results(torch, nn):
    m, seen = nn.Identity(), []
    m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    m.register_forward_pre_hook(lambda module, args: args[0] * 10, prepend=True)
    m.register_forward_hook(lambda module, args, out: seen.append(out.tolist()))
    handle = m.register_forward_hook(lambda module, args, out: out + 100)
    first = m(torch.ones(1))
    handle.remove()
    return first, m(torch.ones(1)), seen


@snippet
def forward_hooks_with_keywords(torch, nn):
    class M(nn.Module):
        def forward(self, x, k=0):
            return x + k
    m, seen = M(), []
    m.register_forward_pre_hook(lambda module, args, kwargs: (args, {"k": kwargs["k"] + 1}), with_kwargs=True)
    m.register_forward_hook(lambda module, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    return m(torch.ones(1), k=1), seen


@snippet
def a_pre_hook_with_keywords_that_returns_nonsense(torch, nn):
    m = nn.Identity()
    m.register_forward_pre_hook(lambda module, args, kwargs: 5, with_kwargs=True)
    m(1)


@snippet
def hooks_that_are_always_called(torch, nn):
    class M(nn.Module):
        def forward(self, x):
            raise ValueError("no")
    m, seen = M(), []
    m.register_forward_hook(lambda module, args, out: seen.append("never"))
    m.register_forward_hook(lambda module, args, out: seen.append(out), always_call=True)
    m.register_forward_hook(lambda module, args, out: 1 / 0, always_call=True)
    try:
        m(1)
    except ValueError as error:
        seen.append(str(error))
    return seen


@snippet
def full_backward_hooks_see_gradients(torch, nn):
    m, seen = nn.Linear(2, 1), []
    with torch.no_grad():
        m.weight.fill_(2.0)
    m.register_full_backward_pre_hook(lambda module, gy: (gy[0] * 3,))
    m.register_full_backward_hook(lambda module, gx, gy: seen.append((gx, gy)))
    m.register_full_backward_hook(lambda module, gx, gy: (gx[0] * 10,))
    x = torch.ones(1, 2, requires_grad=True)
    y = m(x)
    y.sum().backward()
    return seen, x.grad, m.weight.grad, y.grad_fn.name()


@snippet
def full_backward_hooks_of_several_arguments(torch, nn):
    class M(nn.Module):
        def forward(self, a, b, n, unused):
            return a * b * n, a + 1
    m, seen = M(), []
    m.register_full_backward_hook(lambda module, gx, gy: seen.append((gx, gy)))
    a, b, c = (torch.full((2,), v, requires_grad=True) for v in (2.0, 3.0, 4.0))
    m(a, b, 5, c)[0].sum().backward()
    return seen, a.grad, b.grad


@snippet
def full_backward_hooks_without_gradients_of_inputs(torch, nn):
    m, seen = nn.Linear(2, 1), []
    m.register_full_backward_hook(lambda module, gx, gy: seen.append((gx, gy)))
    m(torch.ones(1, 2)).sum().backward()
    return seen


@snippet
def a_full_backward_hook_that_returns_too_much(torch, nn):
    m = nn.Linear(2, 1)
    m.register_full_backward_hook(lambda module, gx, gy: (gx[0], gx[0]))
    m(torch.ones(1, 2, requires_grad=True)).sum().backward()


@snippet
def the_two_kinds_of_backward_hooks_do_not_mix(torch, nn):
    m = nn.Linear(2, 1)
    m.register_backward_hook(lambda *args: None)
    m.register_full_backward_hook(lambda *args: None)


@snippet
def the_older_backward_hook(torch, nn):
    m, seen = nn.Tanh(), []
    m.register_backward_hook(lambda module, gx, gy: seen.append((gx, gy)))
    x = torch.zeros(2, requires_grad=True)
    m(x).sum().backward()
    return seen


@snippet
def hooks_of_all_modules(torch, nn):
    from importlib import import_module
    hooks, seen = import_module(nn.__name__ + ".modules.module"), []
    handles = [
        hooks.register_module_forward_pre_hook(lambda module, args: seen.append(("pre", type(module).__name__))),
        hooks.register_module_forward_hook(lambda module, args, out: seen.append(("post", type(module).__name__))),
        hooks.register_module_full_backward_pre_hook(lambda module, gy: seen.append(("bpre", type(module).__name__))),
        hooks.register_module_full_backward_hook(lambda module, gx, gy: seen.append(("back", type(module).__name__))),
        hooks.register_module_parameter_registration_hook(lambda module, name, p: seen.append(("p", name))),
        hooks.register_module_buffer_registration_hook(lambda module, name, p: seen.append(("b", name))),
        hooks.register_module_module_registration_hook(lambda module, name, p: seen.append(("m", name)))]
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    m(torch.ones(3, 2, requires_grad=True)).sum().backward()
    for handle in handles:
        handle.remove()
    n = len(seen)
    m(torch.ones(3, 2))
    return seen, n == len(seen)


# ---- containers --------------------------------------------------------------------------------------------------------

for code in ("s[0]", "s[-1]", "s[3]", "s[:2]", "s['a']", "len(s)", "list(s)", "s + s", "s + 3", "s * 2", "2 * s", "s * 0", "s * 'a'",
             "s.append(nn.Tanh())", "s.insert(1, nn.Tanh())", "s.insert(-1, nn.Tanh())", "s.insert(9, nn.Tanh())", "s.insert(0, 1)",
             "s.extend([nn.Tanh(), nn.Tanh()])", "(s.pop(0), s)", "(s.pop(slice(0, 2)), s)", "s.__delitem__(1) or s",
             "s.__delitem__(slice(0, 2)) or s", "s.__setitem__(1, nn.Tanh()) or s", "s.__setitem__(5, nn.Tanh())",
             "s.__iadd__(nn.Sequential(nn.Tanh()))", "s.__imul__(2)", "nn.Sequential(collections.OrderedDict(a=nn.ReLU(), b=nn.Tanh()))[1:]",
             "nn.Sequential(3)", "nn.Sequential({'a': nn.ReLU()})", "s(torch.ones(1, 2))", "nn.Sequential()(5)", "dir(s).count('0')",
             "l[0]", "l[-1]", "l[9]", "l[1:]", "len(l)", "l + [nn.Tanh()]", "l.append(nn.Tanh())", "l.extend([nn.Tanh()])", "l.extend(3)",
             "l.insert(0, nn.Tanh()) or l", "(l.pop(0), l)", "l.__delitem__(0) or l", "l.__delitem__(slice(0, 2)) or l",
             "l.__setitem__(0, nn.Tanh()) or l", "nn.ModuleList([nn.ReLU()] * 3)", "nn.ModuleList()", "l(1)", "nn.ModuleList([3])",
             "d['a']", "d['z']", "list(d)", "list(d.items())", "list(d.values())", "list(d.keys())", "'a' in d", "len(d)", "(d.pop('a'), d)",
             "d.clear() or d", "d.update({'c': nn.Tanh()}) or d", "d.update([('c', nn.Tanh())]) or d", "d.update(3)", "d.update([3])",
             "d.update([('a',)])", "d.__setitem__('x.y', nn.ReLU())", "d.__delitem__('a') or d", "nn.ModuleDict([['a', nn.ReLU()]])",
             "d.update(nn.ModuleDict({'q': nn.ReLU()})) or d", "nn.ModuleDict({'keys': nn.ReLU()})",
             "p[0]", "p[-1]", "p[5]", "p[1:]", "len(p)", "list(p)", "p", "p.append(torch.ones(3))", "p.extend([torch.ones(1), 'x'])",
             "p.extend(torch.ones(1))", "p.__setitem__(0, torch.zeros(1)) or p[0]", "p.__iadd__([torch.ones(1)])", "p(1)",
             "[n for n, _ in p.named_parameters()]", "list(p.state_dict())",
             "q['a']", "q['z']", "q[3]", "list(q)", "list(reversed(q))", "q", "len(q)", "'a' in q", "q.pop('a')", "q.popitem()",
             "q.get('z', 5)", "q.setdefault('n', torch.ones(1))", "list(q.items())", "list(q.values())", "list(q.keys())",
             "q.clear() or len(q)", "q.copy()", "q | nn.ParameterDict({'w': torch.ones(1)})", "q.__ior__({'w': torch.ones(1)})",
             "q.fromkeys(['a', 'b'], torch.ones(1))", "q.update(3)", "q.update([3])", "q.update([(1,)])", "q.update({'z': 1, 'y': 2}) or list(q)",
             "q(1)", "list(q.state_dict())", "q.__delitem__('a') or q"):
    def run(torch, nn, code=code):
        given = {"s": nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)),
                 "l": nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU()]),
                 "d": nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()}),
                 "p": nn.ParameterList([torch.ones(2, 3), nn.Parameter(torch.zeros(1)), "text"]),
                 "q": nn.ParameterDict({"b": torch.ones(2, 3), "a": nn.Parameter(torch.zeros(1)), "c": 7})}
        return eval(code, {**globals(), "torch": torch, "nn": nn, **given})
    run.__name__ = "containers: " + code
    snippet(run)


@pytest.mark.parametrize("fn", SNIPPETS, ids=lambda fn: fn.__name__)
def test_does_what_torch_does(fn):
    """The snippet's result, or its error's type and message, and its warnings are torch's."""
    ours, theirs = outcome(fn, nt), outcome(fn, torch)
    assert ours == theirs


# ---- without torch's answer --------------------------------------------------------------------------------------------

def test_the_last_reference_frees_a_module():
    """The tables hold their module weakly: no cycle keeps its parameters until the collector comes."""
    gc.disable()
    try:
        m = net(nt.nn)
        alive = weakref.ref(m), weakref.ref(m.fc1), weakref.ref(m.fc1.weight)
        del m
        assert [r() for r in alive] == [None] * 3
    finally:
        gc.enable()


def test_attributes_are_found_without_getattr():
    """Parameters and submodules are entries of __dict__, which is what makes reading them cheap."""
    m = net(nt.nn)
    assert m.__dict__["fc1"] is m._modules["fc1"]
    assert m.fc1.__dict__["weight"] is m.fc1._parameters["weight"]
    assert "weight" not in pickle.loads(pickle.dumps(m.fc1)).__getstate__()


def test_an_uninitialised_parameter_takes_part_in_no_operation():
    """Operations on a lazy parameter raise ValueError, as in torch."""
    with pytest.raises(ValueError, match="uninitialized parameter"):
        nt.nn.LazyLinear(2).weight + 1


def test_compile_says_what_to_do():
    """Module.compile is not built and says so."""
    with pytest.raises(NotImplementedError, match="Module.compile"):
        nt.nn.ReLU().compile()
