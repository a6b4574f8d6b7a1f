"""Names that programs use to speak of a device: types of tensors, torch.accelerator, the ways of attention."""
import pytest
import simulator
from numtorch.kernels import _driver

import numtorch as torch
from numtorch.nn.attention import SDPBackend, sdpa_kernel

F = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")      # the types are old spellings


def test_types_name_dtype_and_device():
    """type() says where a tensor is, moves it there, and isinstance asks for both."""
    with simulator.installed(devices=2):
        x = torch.cuda.FloatTensor([1, 2])
        assert x.type() == "torch.cuda.FloatTensor" and x.device == torch.device("cuda:0")
        assert isinstance(x, torch.cuda.FloatTensor) and not isinstance(x, (torch.FloatTensor, torch.cuda.LongTensor))
        there = x.type(torch.LongTensor)
        assert there.device.type == "cpu" and there.tolist() == [1, 2] and isinstance(there, torch.LongTensor)
        assert torch.ones(2).type("torch.cuda.HalfTensor").type() == "torch.cuda.HalfTensor"
        assert x.type(torch.float64).type() == "torch.cuda.DoubleTensor"
        assert x.type(torch.cuda.FloatTensor) is x
        far = torch.ones(3, dtype=torch.int32, device="cuda:1")
        assert x.type_as(far).type() == "torch.cuda.IntTensor" and x.type_as(far).device == far.device


def test_default_tensor_type():
    """set_default_tensor_type sets dtype and device of what names none."""
    with simulator.installed():
        try:
            torch.set_default_tensor_type("torch.cuda.DoubleTensor")
            assert torch.zeros(2).type() == "torch.cuda.DoubleTensor"
        finally:
            torch.set_default_tensor_type(torch.FloatTensor)
    assert torch.zeros(2).type() == "torch.FloatTensor"
    with pytest.raises(TypeError, match="only floating-point types are supported as the default type"):
        torch.set_default_tensor_type(torch.LongTensor)
    with pytest.raises(ValueError, match="invalid type: 'torch.cuda.Float'"):
        torch.set_default_tensor_type("torch.cuda.Float")


def test_types_without_a_device():
    """The names are there, so that programs can be imported; to make such a tensor is an error that says why."""
    _driver.use("No CUDA GPUs are available")
    try:
        assert not isinstance(torch.ones(1), torch.cuda.FloatTensor)
        with pytest.raises(TypeError, match="type torch.cuda.FloatTensor not available: No CUDA GPUs"):
            torch.cuda.FloatTensor(2)
        with pytest.raises(TypeError, match="type torch.cuda.LongTensor not available"):
            torch.ones(1).type(torch.cuda.LongTensor)
        assert torch.accelerator.current_accelerator() is None and not torch.accelerator.is_available()
    finally:
        _driver.use(None)


def test_accelerator():
    """torch.accelerator speaks of the CUDA devices."""
    with simulator.installed(devices=2):
        assert torch.accelerator.current_accelerator() == torch.device("cuda") and torch.accelerator.device_count() == 2
        with torch.accelerator.device_index(1):
            assert torch.accelerator.current_device_index() == 1
        assert torch.accelerator.current_device_index() == 0
        torch.accelerator.synchronize()
        assert torch.accelerator.memory_allocated() == torch.cuda.memory_allocated()



def test_ways_of_attention():
    """MATH is a matrix of scores, the others the fused kernel; what is forbidden everywhere is torch's error."""
    with simulator.installed(seed=1):
        q = torch.ones(1, 2, 5, 8, device="cuda", requires_grad=True)
        fused = F.scaled_dot_product_attention(q, q, q)
        for way, one_node in ((SDPBackend.MATH, False), (SDPBackend.FLASH_ATTENTION, True), (SDPBackend.EFFICIENT_ATTENTION, True),
                              ([SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION], True)):
            with sdpa_kernel(way):
                y = F.scaled_dot_product_attention(q, q, q)
            assert (y.grad_fn.name() == fused.grad_fn.name()) == one_node
            assert torch.allclose(y, fused, atol=1e-6)
        with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], set_priority=True):
            assert F.scaled_dot_product_attention(q, q, q).grad_fn.name() != fused.grad_fn.name()
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION), pytest.raises(RuntimeError, match="No viable backend"):
            F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.math_sdp_enabled()


@pytest.mark.parametrize("way, allowed", [(SDPBackend.MATH, True), (SDPBackend.FLASH_ATTENTION, True),
                                          (SDPBackend.EFFICIENT_ATTENTION, False), (SDPBackend.CUDNN_ATTENTION, False)])
def test_ways_of_attention_on_the_cpu(way, allowed):
    """As torch on the CPU: MATH and FLASH_ATTENTION are there, the others are not."""
    q = torch.ones(1, 2, 5, 8)
    with sdpa_kernel(way):
        if allowed:
            F.scaled_dot_product_attention(q, q, q)
        else:
            with pytest.raises(RuntimeError, match="No viable backend"):
                F.scaled_dot_product_attention(q, q, q)
    with pytest.raises(AssertionError, match="Backend must be an instance of SDPBackend or a list"):
        sdpa_kernel("flash")


def test_old_spelling_of_the_ways():
    """backends.cuda.sdp_kernel and the switches do the same."""
    with pytest.warns(DeprecationWarning, match="sdpa_kernel"), torch.backends.cuda.sdp_kernel(enable_math=False):
        assert not torch.backends.cuda.math_sdp_enabled()
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    try:
        assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    finally:
        torch.backends.cuda.enable_mem_efficient_sdp(True)
