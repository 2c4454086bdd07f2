"""Ctrl-C between two steps rather than in the middle of one."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType

logger = logging.getLogger(__name__)


class PoliteInterrupt:
    """Inside the block the first Ctrl-C only sets `asked`; the second raises KeyboardInterrupt at once.

    Only where Ctrl-C would raise KeyboardInterrupt anyway: in the main thread, and when nobody else
    handles the signal. Elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False

    def __enter__(self) -> PoliteInterrupt:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.warning("Interrupted: finishing this step first. Press Ctrl-C again to stop at once.")
