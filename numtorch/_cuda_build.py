"""Compiles the CUDA kernels ahead of use, with all cores: ``python -m numtorch cuda build`` and ``cuda report``.

Needs the ``cuda`` extra, but neither a GPU nor a driver. A set (kernels/_cuda_cubins.py) holds every declared kernel for one
architecture; kernels that are generated on demand, the element-wise ones, are compiled when they are first used.
"""
import multiprocessing
import re
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from pathlib import Path

COLUMNS = ("kernel", "arch", "registers", "shared", "stack", "spills", "bytes")


def families():
    """The names of the kernel files that declare CUDA kernels."""
    from . import kernels

    return sorted(path.stem for path in Path(kernels.__file__).parent.glob("*.py")
                  if path.stem != "_cuda" and re.search(r"\bdevice_kernel\(", path.read_text()))


def declared(chosen=()):
    """(kernel, t, u) of each specialisation that the families declare, or those of them that ``chosen`` names."""
    from .kernels import _cuda

    known, names = families(), []
    for name in chosen:
        found = next((f for f in (name, f"_cuda_{name}", f"{name}_cuda") if f in known), None)
        if found is None:
            raise ValueError(f"there is no family {name!r} of CUDA kernels: {', '.join(known)}")
        names.append(found)
    names = names or known
    for name in names:
        import_module(f".kernels.{name}", __package__)
    return [(kernel, t, u) for _, kernel in sorted(_cuda.KERNELS.items()) if kernel.name.partition(".")[0] in names
            and kernel.source is None for t, u in kernel.specialisations()]


def architectures(text):
    """The compute capabilities that "80,90" or "sm_80,sm_90" names; ValueError for other text."""
    found = [re.fullmatch(r"(?:sm_)?(\d+)(\d)", word.strip()) for word in text.split(",")]
    if not all(found):
        raise ValueError(text)
    return [(int(m[1]), int(m[2])) for m in found]


def _compile(family, name, t, u, ccs):
    """Runs in a worker: the name of a specialisation in a set, and what ``compile`` returns for each capability that it suits."""
    from .kernels import _cuda, _cuda_compile, _cuda_cubins

    import_module(f".kernels.{family}", __package__)
    kernel = _cuda.KERNELS[name]
    found = {cc: _cuda_compile.compile(kernel, t, u, cc) for cc in ccs if cc >= getattr(kernel, "capability", (7, 5))}
    return (family, _cuda_cubins.identity(kernel, t, u)), found


def _compile_all(specialisations, ccs, jobs):
    """({specialisation: what ``_compile`` returns}, the errors)."""
    from tqdm import tqdm

    from .kernels import _jit

    done, failed = {}, []
    with (ProcessPoolExecutor(jobs or _jit.get_num_threads(), multiprocessing.get_context("spawn")) as pool,
          tqdm(total=len(specialisations), unit="kernel", desc="compiling") as progress):
        waiting = {pool.submit(_compile, kernel.name.partition(".")[0], kernel.name, t, u, ccs):
                   " ".join(filter(None, (kernel.name, t, u))) for kernel, t, u in specialisations}
        for task in as_completed(waiting):
            if task.exception() is None:
                done[waiting[task]] = task.result()
            else:
                failed.append(f"{waiting[task]}: {type(task.exception()).__name__}: {task.exception()}")
            progress.update()
    return done, failed


def _print_table(done):
    rows = [COLUMNS]
    for name, (_, compiled) in sorted(done.items()):
        for cc, (_, _, report) in compiled.items():
            numbers = (report.registers, report.shared, report.stack, report.spills, report.size)
            rows.append((name, f"sm_{cc[0]}{cc[1]}", *map(str, numbers)))
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]))


def run(ccs, chosen=(), output=None, write=True, jobs=None):
    """Compiles, prints what each kernel takes and writes the sets; returns the exit status.

    Args:
        ccs (list of tuple): compute capabilities.
        chosen (list of str): families; default all.
        output (str): the folder of the sets; default where programs look for them.
        write (bool): False prints only.
        jobs (int): processes; default the cores.
    """
    from .kernels import _cuda_compile, _cuda_cubins

    try:
        _cuda_compile.compilers()
        specialisations = declared(chosen)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    done, failed = _compile_all(specialisations, ccs, jobs)
    _print_table(done)
    if write:
        folder = Path(output) if output else _cuda_cubins.folder()
        for cc in ccs:
            kernels = {key: compiled[cc][:2] for key, compiled in done.values() if cc in compiled}
            file = _cuda_cubins.write_set(folder, cc, kernels)
            print(f"{file}: {len(kernels)} kernels, {file.stat().st_size / 1e6:.1f} MB")
    for line in failed:
        print(line)
    return 1 if failed else 0
