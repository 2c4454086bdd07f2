"""Parameter-efficient tuning: a few trained weights in a frozen backbone.

LoRA, DoRA, rsLoRA, AdaLoRA and IA3 change maps of the model and are merged into them afterwards. Prompt tuning,
P-tuning, prefix tuning and bottleneck adapters cannot be merged, and stay with the backbone
(`flanrec.backbone.attachments`).
"""

from flanrec.backbone.adapters.adding import add_adapter
from flanrec.backbone.adapters.files import fingerprint, load_adapter, save_adapter
from flanrec.backbone.adapters.merging import finished, merge
from flanrec.backbone.adapters.settings import METHODS, AdapterMethod, AdapterSettings
from flanrec.backbone.adapters.sharing import shared

__all__ = [
    "METHODS",
    "AdapterMethod",
    "AdapterSettings",
    "add_adapter",
    "fingerprint",
    "finished",
    "load_adapter",
    "merge",
    "save_adapter",
    "shared",
]
