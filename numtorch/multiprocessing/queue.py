"""The queues of ``multiprocessing`` under torch's module name; tensors in them are shared, as in all its queues."""
from multiprocessing.queues import JoinableQueue, Queue, SimpleQueue

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]
