"""``python -m numtorch``: programs that import torch run on numtorch, as python itself would run them."""
import subprocess
import sys
import textwrap

import pytest


def run(*arguments, folder):
    """The finished process of ``python -m numtorch ...`` in ``folder``."""
    return subprocess.run([sys.executable, "-m", "numtorch", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def program(tmp_path):
    """Writes a program and runs it with arguments."""
    def write_and_run(text, *arguments):
        (tmp_path / "program.py").write_text(textwrap.dedent(text))
        return run("program.py", *arguments, folder=tmp_path)
    return write_and_run


def test_torch_is_numtorch(program):
    """Every spelling of an import gives numtorch's own modules, and the program sees the names and arguments it would see."""
    done = program("""
        import sys
        import torch, torchvision, numtorch
        import torch.nn.functional as F
        from torch import nn, optim
        from torch.utils.data import DataLoader
        import torch.optim.lr_scheduler
        import torch.backends.cudnn as cudnn
        import helper
        assert torch is numtorch and F is numtorch.nn.functional and nn is numtorch.nn and torchvision is numtorch.vision
        assert sys.modules["torch.nn"] is numtorch.nn and numtorch.__spec__.name == "numtorch"
        assert not torch.cuda.is_available() and cudnn.benchmark is False
        print(__name__, __file__, sys.argv, F.relu(torch.tensor([-1.0, 2.0])), helper.__name__)
        """.replace("import helper", "import os; open('helper.py', 'w').close(); import helper"), "a", "-b")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "__main__ program.py ['program.py', 'a', '-b'] tensor([0., 2.]) helper\n"


def test_code_and_modules(tmp_path):
    """-c and -m run as with python; a script that is not there is python's error and status."""
    (tmp_path / "tool.py").write_text("import sys, torch\nprint(torch.ones(1), sys.argv[1:])\n")
    assert run("-c", "import torch, sys; print(torch.zeros(1), sys.argv)", "x", folder=tmp_path).stdout == (
        "tensor([0.]) ['-c', 'x']\n")
    assert run("-m", "tool", "x", folder=tmp_path).stdout == "tensor([1.]) ['x']\n"
    missing = run("nothing.py", folder=tmp_path)
    assert missing.returncode == 2 and "can't open file" in missing.stderr


def test_errors_and_exit_status(program):
    """A traceback shows the program's frames only; sys.exit's status is the process's."""
    done = program("import torch\ndef f():\n    torch.ones(2) @ torch.ones(3)\nf()\n")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Traceback") and "program.py" in lines[1] and "_run.py" not in done.stderr
    assert program("raise SystemExit(7)").returncode == 7


def test_missing_names(program):
    """What numtorch does not have yet is an AttributeError or ImportError that says so and names the nearest thing."""
    done = program("""
        import torch
        for line in ("torch.reluu", "from torch import ziros", "import torch.optimm", "from torch.nn.functional import nothing"):
            try:
                exec(line)
            except (AttributeError, ImportError) as error:
                print(type(error).__name__, error)
        """)
    lines = done.stdout.splitlines()
    assert lines[0].endswith("numtorch does not have it yet; the nearest that it has is 'relu'")
    assert lines[1] == "ModuleNotFoundError numtorch does not have 'torch.ziros' yet; the nearest that it has is 'zeros'"
    assert lines[2] == "ModuleNotFoundError numtorch does not have 'torch.optimm' yet; the nearest that it has is 'optim'"
    assert lines[3].startswith("ImportError cannot import name 'nothing'")


def test_workers_inherit_it(program):
    """A spawned process and the workers of a DataLoader mean numtorch by torch, too."""
    done = program("""
        import multiprocessing
        import torch
        from torch.utils.data import DataLoader

        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i):
                import torch as inner
                return inner.tensor(float(i)), inner.__name__

        def tell(queue):
            import torch.nn as inner
            queue.put(inner.__name__)

        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                process = context.Process(target=tell, args=(queue,))
                process.start()
                print(queue.get())
                process.join()
            print([names[0] for _, names in DataLoader(Data(), 2, num_workers=1)])
        """)
    assert done.stdout.splitlines() == ["numtorch.nn", "numtorch.nn", "['numtorch', 'numtorch']"], done.stderr


def test_real_torch_first(tmp_path):
    """install_as_torch after another torch has been imported is a clear error."""
    (tmp_path / "torch.py").write_text("")
    done = subprocess.run([sys.executable, "-c", "import torch, numtorch; numtorch.install_as_torch()"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert "ImportError: torch is imported already" in done.stderr
