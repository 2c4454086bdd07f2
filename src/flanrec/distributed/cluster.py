"""A Ray cluster for the time of a job."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from flanrec.errors import SettingsError


@contextlib.contextmanager
def ray_cluster(cpus: int, address: str | None) -> Iterator[Any]:
    """Ray's module, connected to a cluster; one that is started here ends with the block.

    Parameters
    ----------
    cpus : int
        Of a cluster that is started on this machine.
    address : str or None
        Of a running cluster. Where this process is connected already, that connection is used and kept.

    Raises
    ------
    SettingsError
        Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as problem:
        raise SettingsError("several workers need Ray; pip install 'flanrec[distributed]'") from problem
    own = not ray.is_initialized()
    if own:
        options: dict[str, Any] = {"address": address} if address else {"num_cpus": cpus, "include_dashboard": False}
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except ConnectionError as problem:
            raise SettingsError(f"no Ray cluster answers at {address}: {problem}") from problem
    try:
        # Ray tells of workers that died on stdout, which belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            yield ray
    finally:
        if own:
            ray.shutdown()
