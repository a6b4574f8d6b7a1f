"""The rules that keep the library readable (DESIGN.md, section 5), read off its sources and its registry."""
import ast
import subprocess
import sys
from pathlib import Path

from numtorch import op as ops

ROOT = Path(__file__).parent.parent
KERNELS = sorted((ROOT / "kernels").glob("*.py"))
LIBRARY = sorted((ROOT / "numtorch").rglob("*.py"))
PRODUCT = KERNELS + LIBRARY

# from the ground up; a module may import, when it is imported itself, from its own level and from those below
LEVELS = [
    ("kernels",),
    ("_attention_ways", "_deterministic", "_on_host", "devices", "dtypes", "shape", "storage", "tensor", "return_types", "_tensor_str", "_threads", "_legacy", "version",
     "autograd.grad_mode", "autograd.node"),
    ("op", "ops", "autograd", "random", "linalg", "special", "fft"),
    ("nn", "optim"),
    ("accelerator", "amp", "cuda", "backends", "utils", "vision", "jit", "testing", "warmup", "shim", "hub", "serialization", "_serial_legacy", "_serial_names",
     "_serial_places", "_serial_safe", "_serial_tensors", "_serial_zip", "multiprocessing", "distributed", "nn.parallel"),
    ("_as_torch", "_cuda_build", "_run", "__main__"),
]


def tree(path):
    return ast.parse(path.read_text(), str(path))


def named(path):
    return str(path.relative_to(ROOT))


def imports(path, top=False):
    """The modules that a file imports, absolute: "numtorch.ops.view"; ``top``: only those imported along with it."""
    parts = path.relative_to(ROOT).parts[:-1]
    package = [*parts] if parts[0] == "numtorch" else ["numtorch", *parts]
    nodes = tree(path).body if top else ast.walk(tree(path))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            start = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield module
            for alias in node.names:
                yield f"{module}.{alias.name}"


def level(module):
    """The level of an absolute module name of numtorch, by the longest entry that it starts with; None for the package itself."""
    inner = module.removeprefix("numtorch").removeprefix(".")
    found = [(len(entry), k) for k, entries in enumerate(LEVELS) for entry in entries
             if inner == entry or inner.startswith(entry + ".")]
    return max(found)[1] if found else None


def test_the_kernels_know_only_numpy_and_numba():
    """kernels/ imports the standard library, numpy, numba with its llvmlite, NVIDIA's bindings, and itself: never numtorch."""
    known = ("numpy", "numba", "llvmlite", "cuda")
    for path in KERNELS:
        for module in imports(path):
            assert module.split(".")[0] in (*sys.stdlib_module_names, *known) or module.startswith("numtorch.kernels"), \
                f"{named(path)} imports {module}"


def test_numba_is_imported_only_in_kernels():
    """The library above the kernels never names numba, so that it costs nothing before the first kernel runs."""
    for path in LIBRARY:
        found = [m for m in imports(path) if m.split(".")[0] in ("numba", "llvmlite", "cuda")]
        assert not found, f"{named(path)} imports {found}"


def test_the_product_never_imports_torch():
    """Neither torch nor its relatives are imported, not even inside a function."""
    for path in PRODUCT + sorted((ROOT / "demos").glob("*.py")):
        found = [m for m in imports(path) if m.split(".")[0] in ("torch", "torchvision", "functorch")]
        assert not found, f"{named(path)} imports {found}"


def test_the_environment_is_read_in_one_module():
    """Settings are a table in one docstring: nobody else reads environment variables."""
    for path in PRODUCT:
        if named(path) == "kernels/_settings.py":
            continue
        for node in ast.walk(tree(path)):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            assert name not in ("environ", "getenv", "putenv"), f"{named(path)}:{node.lineno} reads the environment"


def test_imports_go_down():
    """A module imports along with itself only from its own level and below (inside functions it may look up)."""
    for path in LIBRARY:
        own = level(".".join(["numtorch", *path.relative_to(ROOT / "numtorch").with_suffix("").parts]).removesuffix(".__init__"))
        if own is None:
            assert named(path) == "numtorch/__init__.py", f"{named(path)} is in no level of LEVELS"
            continue
        for module in imports(path, top=True):
            other = level(module) if module.startswith("numtorch.") else None
            assert other is None or other <= own, f"{named(path)} imports {module}, which is above it"


def test_every_op_is_explained():
    """Each registered function has a docstring."""
    bare = [name for name, op in ops.OPS.items() if not (op.fn.__doc__ or "").strip()]
    assert not bare, bare


def test_every_kernel_is_explained():
    """Each function that is compiled as a kernel says in its docstring what it computes."""
    for path in KERNELS:
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef) and any("kernel" in ast.unparse(d) for d in node.decorator_list):
                assert ast.get_docstring(node), f"{named(path)}: {node.name} has no docstring"


def test_files_are_short():
    """No file of the product is longer than 600 lines, and no file of tests or rows longer than 900."""
    for limit, paths in ((600, PRODUCT), (900, (ROOT / "tests").rglob("*.py"))):
        long = {named(p): n for p in paths if (n := p.read_text().count("\n")) > limit}
        assert not long, long


def test_nothing_is_half_done():
    """No notes to self, and no exception swallowed without a word."""
    for path in PRODUCT:
        text = path.read_text()
        for word in ("TODO", "FIXME", "XXX", "HACK"):
            assert word not in text, f"{named(path)}: {word}"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                assert any(isinstance(n, ast.Raise) for n in ast.walk(node)), f"{named(path)}:{node.lineno}: bare except"


def test_importing_numtorch_is_light():
    """``import numtorch`` loads neither numba nor torch nor matplotlib nor the packages that a program may not need."""
    code = ("import sys, numtorch; heavy = 'numba llvmlite cuda torch matplotlib scipy tqdm hypothesis PIL numtorch.nn "
            "numtorch.optim numtorch.utils numtorch.vision multiprocessing asyncio'.split(); "
            "print(*[m for m in heavy if m in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not found
