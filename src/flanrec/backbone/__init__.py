"""T5-family checkpoints: finding, loading, adapting and saving them.

The names below load torch when they are first used, not when the package is imported: finding a
checkpoint and reporting on it (`flanrec doctor`) need only the standard library and the hub's client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flanrec.backbone.sources import CheckpointSource

if TYPE_CHECKING:
    from flanrec.backbone.checkpoint import Backbone, load_backbone

__all__ = ["Backbone", "CheckpointSource", "load_backbone"]


def __getattr__(name: str) -> Any:
    if name in ("Backbone", "load_backbone"):
        from flanrec.backbone import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
