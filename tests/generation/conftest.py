from __future__ import annotations

import pytest
import torch

from flanrec.backbone import Backbone, load_backbone


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """The real offline checkpoint."""
    torch.set_num_threads(1)
    return load_backbone("offline", offline=True)
