"""The command line: ``python -m numtorch SCRIPT``, ``-m MODULE``, ``-c CODE``; ``warmup``, ``cache``, ``info``, ``cuda``."""
import argparse
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from . import _run, version

FAMILY_FOLDER = re.compile(r"\w+-[0-9a-f]{16}")     # as kernels/_cache.py names them; nothing else is ever deleted


def warmup(arguments):
    """Compiles the common kernels into the cache, with a progress bar."""
    from .warmup import run

    return run(arguments.jobs)


def cache(arguments):
    """Prints where compiled kernels are kept, and how much, or deletes them."""
    from .kernels import _cache

    root = _cache.root()
    folders = [p for p in root.iterdir() if p.is_dir() and FAMILY_FOLDER.fullmatch(p.name)]
    size = sum(f.stat().st_size for p in folders for f in p.rglob("*") if f.is_file())
    if arguments.action == "path":
        print(root)
    elif arguments.action == "clear":
        for folder in folders:
            shutil.rmtree(folder)
        print(f"{root}: {len(folders)} families of kernels deleted, {size / 1e6:.1f} MB")
    else:
        current = sum(p.name == f"{p.name[:-17]}-{_cache.source_hash(p.name[:-17])}" for p in folders)
        print(f"{root}: {len(folders)} families of kernels, {size / 1e6:.1f} MB; {current} belong to these sources")
    return 0


def info(arguments):
    """Prints the versions and settings that a report of a problem should name."""
    from .kernels import _cache, _jit

    print(f"numtorch  {version.numtorch} in {Path(__file__).parent}")
    print(f"python    {platform.python_version()} on {platform.platform()}, {_jit.get_num_threads()} threads")
    for package in ("numpy", "numba", "llvmlite", "ml_dtypes"):
        print(f"{package:10}{metadata.version(package)}")
    print(f"cache     {_cache.root()}")
    return 0


def cuda(arguments):
    """Compiles the CUDA kernels ahead of use, or prints what each of them takes; needs no GPU."""
    from ._cuda_build import run

    return run(arguments.arch, arguments.family, arguments.output, arguments.action == "build", arguments.jobs)


COMMANDS = ("warmup", "cache", "info", "cuda")


def architectures(text):
    """The argument of --arch: compute capabilities."""
    from ._cuda_build import architectures

    return architectures(text)


def positive(text):
    """The argument of an option that counts something; ValueError (which argparse reports) below 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parser():
    """The argument parser; each command names its function."""
    top = argparse.ArgumentParser("python -m numtorch", usage="python -m numtorch [SCRIPT | -m MODULE | -c CODE] [ARGS]\n"
                                  "       python -m numtorch COMMAND [OPTIONS]",
                                  description="Runs a program in which torch means numtorch; or a tool around numtorch.")
    top.add_argument("--version", action="version",
                     version=f"numtorch {version.numtorch}, for programs written for torch {version.torch}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(command):
        sub = commands.add_parser(command.__name__, help=command.__doc__.rstrip("."), description=command.__doc__)
        sub.set_defaults(command=command)
        return sub
    add(warmup).add_argument("--jobs", type=positive, metavar="N", help="processes that compile; default: one for each core")
    add(cache).add_argument("action", nargs="?", choices=("show", "path", "clear"), default="show")
    add(info)
    actions = add(cuda).add_subparsers(title="actions", required=True, dest="action", metavar="ACTION",
                                         prog="python -m numtorch cuda")
    for action, says in (("build", "compiles the kernels into sets, a file for each architecture"),
                         ("report", "prints registers, memory and size of the kernels, and writes nothing")):
        sub = actions.add_parser(action, help=says, description=says)
        sub.add_argument("family", nargs="*", help="only these families of kernels, such as softmax; default: all")
        sub.add_argument("--arch", type=architectures, required=action == "build", default=[(9, 0)], metavar="80,90",
                         help="the GPUs' compute capabilities, without the point" + ("; default: 90" * (action == "report")))
        sub.add_argument("--jobs", type=positive, metavar="N", help="processes that compile; default: one for each core")
        sub.set_defaults(output=None)
        if action == "build":
            sub.add_argument("--output", metavar="DIR", help="where the sets go; default: where programs look for them")
    return top


def main(argv=None):
    """Runs one command or a program written for torch; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in ("-m", "-c") and len(argv) > 1:
        return (_run.module if argv[0] == "-m" else _run.code)(argv[1], argv[2:])
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        return _run.script(argv[0], argv[1:])
    arguments = parser().parse_args(argv)
    return arguments.command(arguments)


if __name__ == "__main__":
    sys.exit(main())
