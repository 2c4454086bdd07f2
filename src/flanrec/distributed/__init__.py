"""Work that outgrows one process: tuning by several, and lists for many users, both surviving a killed worker."""

from flanrec.distributed.batch import run_batch
from flanrec.distributed.parts import read_batch
from flanrec.distributed.training import TrainJob, train, train_by_ray
from flanrec.distributed.worker import BatchJob, Worker

__all__ = ["BatchJob", "TrainJob", "Worker", "read_batch", "run_batch", "train", "train_by_ray"]
