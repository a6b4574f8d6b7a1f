"""The examples in docstrings are run: what the documentation shows is what happens."""
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import numtorch
from numtorch import op as ops

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
FOLDER = Path(numtorch.__file__).parent
# importing a module of _as_torch would make numtorch this process's torch
MODULES = sorted(".".join(["numtorch", *p.relative_to(FOLDER).with_suffix("").parts]).removesuffix(".__init__")
                 for p in FOLDER.rglob("*.py") if p.name != "__main__.py" and p.parent.name != "_as_torch")


def documented(module):
    """The functions, classes, methods and ops that a module defines, each with a name."""
    operations = {op.fn for op in ops.OPS.values()}         # their examples belong to the module that defines them
    for name, value in list(vars(module).items()):
        if inspect.isfunction(value) and value in operations:
            continue
        if getattr(value, "__module__", None) == module.__name__ and (inspect.isfunction(value) or inspect.isclass(value)):
            yield name, value
            if inspect.isclass(value):
                yield from ((f"{name}.{n}", v) for n, v in vars(value).items() if inspect.isfunction(v) or isinstance(v, property))
    yield from ((name, op.fn) for name, op in ops.OPS.items() if op.module == module.__name__)
    yield "the module", module


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Every example in a module's docstrings prints what it says."""
    module = importlib.import_module(name)
    finder, runner, seen = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False, optionflags=FLAGS), set()
    report = []
    for place, value in documented(module):
        text = inspect.getdoc(value)
        if text and ">>>" in text and text not in seen:
            seen.add(text)
            names = {**vars(module), "torch": numtorch, "numtorch": numtorch}
            runner.run(finder.get_doctest(text, names, f"{name}.{place}", None, None), out=report.append)
    assert not runner.failures, "".join(report)
