"""Modules that a frozen T5 carries and that cannot be merged into its weights: soft prompts, prefixes, bottlenecks.

They sit inside the model where flanrec's own encoder, decoder and search read them (`flanrec.backbone.encoder`,
`flanrec.generation.decoder`), and are copied, moved and trained with it.
"""

from flanrec.backbone.attachments.carrying import (
    ATTACHMENT,
    Attachment,
    attach,
    attached,
    detached,
    load_attachment,
    refuse_attached,
    save_attachment,
    settle,
    train_attached,
)

__all__ = [
    "ATTACHMENT",
    "Attachment",
    "attach",
    "attached",
    "detached",
    "load_attachment",
    "refuse_attached",
    "save_attachment",
    "settle",
    "train_attached",
]
