"""The service over HTTP."""

from flanrec.serving.http.app import create_app

__all__ = ["create_app"]
