"""Work that outgrows one process: lists for many users, in parts that survive a killed worker."""

from flanrec.distributed.batch import run_batch
from flanrec.distributed.parts import read_batch
from flanrec.distributed.worker import BatchJob, Worker

__all__ = ["BatchJob", "Worker", "read_batch", "run_batch"]
