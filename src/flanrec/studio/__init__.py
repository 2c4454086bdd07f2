"""The studio: a page for people, in the browser, over a service in this process. It needs the extra ``studio``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from flanrec.serving.service import Service


def mount(app: FastAPI, service: Service) -> None:
    """Serve the page at ``/studio`` of an application, behind what stands before its other routes.

    Gradio is imported here and not before, so that a service without the page does not wait for it.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from flanrec.studio.mounting import mount_page

    mount_page(app, service)
