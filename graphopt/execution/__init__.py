"""Where work is carried out: in this process, in several, or on a cluster; the result has the same bytes.

- ``backend``: What carries out tasks: the protocol, and what differs from one kind of executor to another.
- ``dask_cluster``: The workers of a Dask cluster, reached through its scheduler.
- ``executor``: The workers of a run, and the one loop that gives out tasks and takes their results.
- ``foreign``: Any other executor of ``concurrent.futures``.
- ``opening``: From ``--workers``, or what a Python caller gives, to workers.
- ``processes``: Processes on this machine.
- ``reduction``: The fixed tree in which the results of parts are added up.
- ``shared``: Values that travel to each worker once, named by the hash of their content.
- ``store``: Results by content hash in a folder, from which a run that was stopped goes on.
- ``tasks``: What travels to a worker and back, and what a worker refuses.
- ``watch``: How far tasks on workers are, in words: workers, shards done, samples a second, time left.
"""

from graphopt.execution.backend import Executor, Future
from graphopt.execution.executor import Workers
from graphopt.execution.opening import WorkersLike, check_workers, open_workers
from graphopt.execution.reduction import LEAF, Reduction, leaves, parts
from graphopt.execution.shared import Shared
from graphopt.execution.store import Store
from graphopt.execution.tasks import task_seed

__all__ = [
    "LEAF",
    "Executor",
    "Future",
    "Reduction",
    "Shared",
    "Store",
    "Workers",
    "WorkersLike",
    "check_workers",
    "leaves",
    "open_workers",
    "parts",
    "task_seed",
]
