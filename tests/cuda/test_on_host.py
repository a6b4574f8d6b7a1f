"""The lowered code of kernels, run on the host's processor and compared with NumPy: see host_machine.py."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMES = re.findall(r"\w+", re.search(r"^CHECKS = \((.*)\)", (HERE / "checks_on_host.py").read_text(), re.MULTILINE)[1])


@pytest.mark.parametrize("name", NAMES)
def test_on_host(name):
    """One check, in a process in which llvmlite writes pointers for today's LLVM."""
    environment = {**os.environ, "LLVMLITE_ENABLE_IR_LAYER_TYPED_POINTERS": "0"}
    done = subprocess.run([sys.executable, HERE / "checks_on_host.py", name], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
