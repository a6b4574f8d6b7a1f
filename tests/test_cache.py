"""The disk cache of compiled kernels: hit by the next process, missed after an edit, quiet, and absent where it cannot be."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numtorch.kernels import _cache, _jit

from numtorch.__main__ import main

PROGRAM = """
import numtorch as torch
x = torch.ones(3, 4, requires_grad=True)
y = (x.cumsum(1) * 2).exp().sum()
y.backward()
print(float(x.grad[2, 3]))
"""


def run(cache, program=PROGRAM, **settings):
    """Runs a program in a process of its own with the cache folder ``cache``."""
    environment = {**os.environ, "NUMTORCH_CACHE": str(cache), **settings}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)


def compiled_files(cache):
    """Every file of the cache with its time of writing."""
    return {p.relative_to(cache): p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file() and p.suffix in (".nbi", ".nbc")}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder in which PROGRAM has run once."""
    cache = tmp_path_factory.mktemp("cache")
    run(cache, NUMTORCH_QUIET="1")
    return cache


def test_a_second_process_compiles_nothing(filled):
    """The second run of a program writes nothing into the cache and says nothing; Numba reports only loads."""
    before = compiled_files(filled)
    assert before
    done = run(filled, NUMBA_DEBUG_CACHE="1")
    assert compiled_files(filled) == before
    assert "data loaded" in done.stdout and "data saved" not in done.stdout
    assert done.stderr == ""


def test_the_answer_does_not_depend_on_the_cache(filled):
    """The same numbers come from fresh and from cached machine code."""
    assert float(run(filled).stdout) == pytest.approx(2 * 2.718281828 ** 8, rel=1e-4)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of kernels/ that the cache takes for the real one."""
    copy = tmp_path / "kernels"
    shutil.copytree(_cache.HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_cache, "HERE", copy)
    monkeypatch.setattr(_cache._settings, "CACHE_ROOT", str(tmp_path / "cache"))
    functions = (_cache.sources, _cache.source_hash, _cache.root, _cache.folder)

    def forget():
        for fn in functions:
            fn.cache_clear()
    forget()
    yield copy, forget
    monkeypatch.undo()
    forget()


def test_an_edited_kernel_starts_from_an_empty_folder(sources):
    """A change in a family's file, or in a file that it imports, gives the family another folder, and only that family."""
    copy, forget = sources
    before = {family: _cache.folder(family) for family in ("optim", "scan", "sort")}
    with (copy / "optim.py").open("a") as file:
        file.write("\n# another line\n")
    forget()
    after = {family: _cache.folder(family) for family in before}
    assert [family for family in before if before[family] != after[family]] == ["optim"]


def test_an_edited_helper_reaches_every_family_that_imports_it(sources):
    """Numba's own cache would miss this: the helper is in another file than the kernel."""
    copy, forget = sources
    users = [p.stem for p in copy.glob("*.py") if "_math" in _cache.sources(p.stem)]
    others = [p.stem for p in copy.glob("*.py") if "_math" not in _cache.sources(p.stem)]
    assert "_pointwise" in users and others
    assert "pointwise" in _cache.sources("_pointwise")      # the generated loops import it, no kernel file does
    before = {family: _cache.source_hash(family) for family in users + others}
    with (copy / "_math.py").open("a") as file:
        file.write("\n# another line\n")
    forget()
    assert all(_cache.source_hash(family) != before[family] for family in users)
    assert all(_cache.source_hash(family) == before[family] for family in others)


def test_a_folder_that_cannot_be_written_is_no_obstacle():
    """Where the cache cannot be made (a read-only home), programs run with a temporary one."""
    program = "import numtorch as torch\nprint(float(torch.ones(3)[0] * 2))"
    assert float(run("/dev/null/cache", program, NUMTORCH_QUIET="1").stdout) == 2


def test_a_long_compile_is_announced_once(capsys):
    """Compiling that has taken a second says so in one line that names the folder; later compiles add none."""
    notice = _jit._Notice()
    notice.said = False
    notice.spent = 2.0                      # seconds: the timer fires at once
    for name in ("softmax_forward", "conv2d_forward"):
        notice.enter(name)
        if not notice.said:
            notice.timer.join()
        notice.leave()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "compiling" in lines[0] and "softmax_forward" in lines[0] and str(_cache.root()) in lines[0]


def test_a_short_compile_is_not_announced(capsys):
    """Less than a second in all: silence."""
    notice = _jit._Notice()
    notice.said = False
    notice.enter("softmax_forward")
    notice.leave()
    notice.timer.join()
    assert capsys.readouterr().err == ""


def test_clear_deletes_kernels_and_nothing_else(sources, tmp_path, capsys):
    """``python -m numtorch cache clear`` removes the families' folders, not a file or folder that someone put beside them."""
    folder = _cache.folder("optim")
    (folder / "x.nbc").write_bytes(b"12345")
    beside = _cache.root() / "precious"
    beside.mkdir()
    assert main(["cache"]) == 0 and main(["cache", "path"]) == 0 and main(["cache", "clear"]) == 0
    shown, path, cleared = capsys.readouterr().out.splitlines()
    assert "1 families" in shown and Path(path) == _cache.root() and "1 families" in cleared
    assert not folder.exists() and beside.exists()


def test_info_names_what_a_report_needs(capsys):
    """``python -m numtorch info`` prints the versions and the cache folder."""
    assert main(["info"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert {"numtorch", "python", "numpy", "numba", "cache"} <= set(lines)


def test_warmup_compiles_both_twins_ahead(tmp_path):
    """``python -m numtorch warmup`` fills the cache so that a program then compiles nothing, whatever the size of its arrays."""
    environment = {**os.environ, "NUMTORCH_CACHE": str(tmp_path), "NUMTORCH_QUIET": "0"}
    code = "from numtorch.warmup import run\nif __name__ == '__main__':\n    run(2, ['mul', 'large_arrays'])"
    script = tmp_path / "warm.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert "2 of 2 programs compiled" in done.stdout and "compiling:" in done.stderr
    before = compiled_files(tmp_path)
    code = "import numtorch as t\nfor n in (4, 200_000):\n    x = t.ones(n, requires_grad=True)\n    y = x * 2"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert before and compiled_files(tmp_path) == before


def test_warmup_reports_a_program_that_fails(capsys):
    """A failing program is named with its error, the others are run, and the status is 1."""
    from numtorch import warmup

    assert warmup.run(1, ["nonsense", "add"]) == 1
    said = capsys.readouterr()
    assert "KeyError" in said.out + said.err and "1 of 2 programs compiled" in said.out
