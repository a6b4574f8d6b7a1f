"""Runs a program in which torch means numtorch: a script, a module or a line of code, as ``python`` itself would."""
import runpy
import sys
import traceback
import types
from pathlib import Path

from .shim import install_as_torch


def script(path, arguments):
    """``python path arguments``; returns the exit status."""
    if Path(path).is_dir() or Path(path).suffix in (".zip", ".pyz"):
        return _guarded(lambda: runpy.run_path(path, run_name="__main__"), [path, *arguments], None)
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        print(f"{sys.executable}: can't open file {str(Path(path).absolute())!r}: [Errno {error.errno}] {error.strerror}",
              file=sys.stderr)
        return 2
    return _guarded(lambda: _main(source, path), [path, *arguments], str(Path(path).resolve().parent))


def module(name, arguments):
    """``python -m name arguments``."""
    return _guarded(lambda: runpy.run_module(name, run_name="__main__", alter_sys=True), [name, *arguments], str(Path.cwd()))


def code(text, arguments):
    """``python -c text arguments``."""
    return _guarded(lambda: _main(text, None), ["-c", *arguments], "")


def _main(source, path):
    """Executes ``source`` as the module ``__main__``."""
    main = types.ModuleType("__main__")
    main.__builtins__ = __builtins__
    if path is not None:
        main.__file__ = path
    sys.modules["__main__"] = main
    exec(compile(source, path or "<string>", "exec"), main.__dict__)


def _guarded(run, argv, folder):
    """Runs the program; an exception is printed without the frames of this file, as if Python had run the program."""
    install_as_torch()
    sys.argv = argv
    if folder is not None:
        sys.path[1] = folder        # where ``python -m numtorch`` put the working directory
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>"):
            frames = frames.tb_next
        if sys.excepthook is sys.__excepthook__:
            traceback.print_exception(type(error), error, frames)
        else:
            sys.excepthook(type(error), error, frames)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0
