"""Work that outgrows one process: lists for many users, in parts that survive a killed worker."""

from flanrec.distributed.batch import BatchJob, run_batch

__all__ = ["BatchJob", "run_batch"]
