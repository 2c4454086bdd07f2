"""Which parameter-efficient method, and how large."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from flanrec.backbone.attachments import Attachment

InjectedMethod = Literal["lora", "dora", "rslora", "adalora", "ia3"]
AttachedMethod = Literal["prompt-tuning", "p-tuning", "prefix-tuning", "adapter"]
AdapterMethod = Literal[
    "lora", "dora", "rslora", "adalora", "ia3", "prompt-tuning", "p-tuning", "prefix-tuning", "adapter"
]
METHODS: tuple[AdapterMethod, ...] = get_args(AdapterMethod)


class AdapterSettings(BaseModel):
    """A method and its size."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    method: AdapterMethod = "lora"
    """lora, dora, rslora, adalora, ia3, prompt-tuning, p-tuning, prefix-tuning, or adapter (bottlenecks)."""
    rank: int = Field(default=16, ge=1)
    """Columns of low-rank matrices; of two or more adalora keeps two thirds, on average over the maps."""
    alpha: float | None = Field(default=None, gt=0)
    """Scale of a low-rank change, which acts as alpha / rank (rslora: alpha / root of rank); None is twice the rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of a low-rank adapter's input that is dropped in training."""
    targets: tuple[str, ...] = ()
    """Maps that low-rank adapters change, of q, k, v, o, wi_0, wi_1, wo; none named takes all of the dense layers."""
    length: int = Field(default=20, ge=1)
    """Places of a soft prompt or a prefix."""
    width: int = Field(default=32, ge=1)
    """Of a bottleneck."""
    hidden: int = Field(default=32, ge=0)
    """Width of the network that makes a p-tuned prompt or a prefix in training."""

    @property
    def attachment(self) -> Attachment | None:
        """What is attached; None for a method that is merged."""
        if self.method in get_args(InjectedMethod):
            return None
        return Attachment.model_validate(
            {"method": self.method, "length": self.length, "width": self.width, "hidden": self.hidden}
        )
