"""Starting several processes that run one function, and learning of the first that fails."""
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing import connection, reduction

log = logging.getLogger(__name__)

__all__ = ["ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException", "SpawnContext", "spawn",
           "start_processes"]

_PR_SET_PDEATHSIG = 1


class ProcessException(Exception):
    """A process that ``start_processes`` began has failed.

    ``error_index`` is its number, ``error_pid`` its process id.
    """

    __slots__ = ["error_index", "error_pid", "msg"]

    def __init__(self, msg, error_index, pid):
        super().__init__(msg)
        self.msg, self.error_index, self.error_pid = msg, error_index, pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """The function raised an exception; its traceback is in the message."""

    __slots__ = []

    def __init__(self, msg, error_index, error_pid):
        super().__init__(msg, error_index, error_pid)


class ProcessExitedException(ProcessException):
    """The process ended with a signal, ``signal_name``, or with an ``exit_code`` other than 0."""

    __slots__ = ["exit_code", "signal_name"]

    def __init__(self, msg, error_index, error_pid, exit_code, signal_name=None):
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.error_pid, self.exit_code, self.signal_name)


class _Report:
    """Where a process writes the traceback of its failure: an open file without a name."""

    def __init__(self, file=None):
        self.file = file or tempfile.TemporaryFile()

    def write(self, text):
        self.file.write(pickle.dumps(text))
        self.file.flush()

    def read(self):
        """The text, or None if there is none."""
        self.file.seek(0)
        data = self.file.read()
        return pickle.loads(data) if data else None

    def __reduce__(self):
        return _rebuild_report, (reduction.DupFd(self.file.fileno()),)


def _rebuild_report(duplicate):
    return _Report(os.fdopen(duplicate.detach(), "r+b"))


def _end_with_parent():
    """On Linux, has SIGINT sent to this process when its parent ends, so that it does not outlive it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if not multiprocessing.parent_process().is_alive():
            raise KeyboardInterrupt


def _run(fn, i, args, report):
    """What each process runs."""
    try:
        _end_with_parent()
        fn(i, *args)
    except KeyboardInterrupt:
        return      # Ctrl-C reaches all processes of a terminal; the parent raises it
    except Exception:
        report.write(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """The processes that ``start_processes`` began.

    Args:
        processes (list of Process): started.
        error_files (list): of each, where it writes the traceback of its failure.
    """

    def __init__(self, processes, error_files):
        self.processes, self.error_files = processes, error_files
        self.sentinels = {process.sentinel: index for index, process in enumerate(processes)}

    def pids(self):
        """The process ids."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout=None, grace_period=None):
        """Waits until one process fails, or at least one has ended.

        Args:
            timeout (float): seconds to wait at most.
            grace_period (float): seconds that the others have to end by themselves when one has failed, before they get
                SIGTERM, and then again before they get SIGKILL.

        Returns:
            bool: whether all processes have ended.

        Raises:
            ProcessRaisedException: the function raised an exception in the first process that failed.
            ProcessExitedException: that process ended with a signal or an exit code other than 0.
        """
        if not self.sentinels:
            return True
        failed = None
        for sentinel in connection.wait(self.sentinels.keys(), timeout):
            index = self.sentinels.pop(sentinel)
            self.processes[index].join()
            if self.processes[index].exitcode != 0:
                failed = index
                break
        if failed is None:
            return not self.sentinels
        self._end_all(grace_period)
        self._raise(failed)

    def _wait_for_all(self, seconds):
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, end - time.monotonic()))

    def _end_all(self, grace_period):
        if grace_period is not None:
            self._wait_for_all(grace_period)
        for process in self.processes:
            if process.is_alive():
                log.warning("Terminating process %s via signal SIGTERM", process.pid)
                process.terminate()
        self._wait_for_all(30 if grace_period is None else grace_period)
        for process in self.processes:
            if process.is_alive():      # it handles SIGTERM, and does not end
                log.warning("Unable to shutdown process %s via SIGTERM , forcefully exiting via SIGKILL", process.pid)
                process.kill()
            process.join()

    def _raise(self, index):
        process = self.processes[index]
        text, code = self.error_files[index].read(), process.exitcode
        if text is not None:
            raise ProcessRaisedException(f"\n\n-- Process {index} terminated with the following error:\n{text}", index,
                                         process.pid)
        if code >= 0:
            raise ProcessExitedException(f"process {index} terminated with exit code {code}", index, process.pid, code)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"<Unknown signal {-code}>"
        raise ProcessExitedException(f"process {index} terminated with signal {name}", index, process.pid, code, name)


class SpawnContext(ProcessContext):
    """The old name of ProcessContext."""

    def __init__(self, processes, error_files):
        warnings.warn("SpawnContext is renamed to ProcessContext since 1.4 release.", stacklevel=2)
        super().__init__(processes, error_files)


def start_processes(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Starts ``nprocs`` processes, of which the i-th runs ``fn(i, *args)``.

    Args:
        fn (callable): defined at the top level of a module, unless processes are forked.
        args (tuple): further arguments; tensors are shared with the processes.
        nprocs (int): number of processes.
        join (bool): wait until all have ended; if one fails, the others are ended.
        daemon (bool): make them daemons, which end with their parent.
        start_method (str): "spawn", "fork" or "forkserver".

    Returns:
        None, or a ProcessContext where ``join`` is False.

    Raises:
        ProcessRaisedException, ProcessExitedException: see ``ProcessContext.join``.
    """
    context = multiprocessing.get_context(start_method)
    processes, reports = [], []
    for i in range(nprocs):
        reports.append(_Report())
        processes.append(context.Process(target=_run, args=(fn, i, args, reports[i]), daemon=daemon))
        processes[i].start()
    found = ProcessContext(processes, reports)
    if not join:
        return found
    try:
        while not found.join():
            continue
    except KeyboardInterrupt:
        found._end_all(1.0)     # the interrupt may have been for this process only
        raise
    return None


def spawn(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Starts ``nprocs`` fresh processes, of which the i-th runs ``fn(i, *args)``; arguments as those of ``start_processes``.

    ``start_method`` is always "spawn"; FutureWarning for another one.

    Returns:
        None, or a ProcessContext where ``join`` is False.
    """
    if start_method != "spawn":
        warnings.warn(f"This method only supports start_method=spawn (got: {start_method}).\nTo use a different start_method "
                      "use:\n\t\t torch.multiprocessing.start_processes(...)", FutureWarning, stacklevel=2)
    return start_processes(fn, args, nprocs, join, daemon)
