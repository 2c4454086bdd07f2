"""Ctrl-C, and the signal that ends a service or a batch job, between two steps rather than in the middle of one."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger(__name__)


class PoliteInterrupt:
    """Inside the block the first Ctrl-C or SIGTERM only sets `asked`; the second raises KeyboardInterrupt at once.

    Only in the main thread, and for signals that nobody else handles. Elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> PoliteInterrupt:
        if threading.current_thread() is threading.main_thread():
            for number, untouched in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) is untouched:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.warning("Interrupted: finishing this step first. Press Ctrl-C again to stop at once.")
