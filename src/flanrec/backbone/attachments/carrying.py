"""Put an attachment into a model, settle it after training, write it and read it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from flanrec.backbone.attachments.bottleneck import Bottleneck, last_maps, put_in
from flanrec.backbone.attachments.prefix import Prefix, attentions, starting_pair
from flanrec.backbone.attachments.soft_prompt import SoftPrompt, starting_vectors
from flanrec.errors import CheckpointError, SettingsError

AttachmentMethod = Literal["prompt-tuning", "p-tuning", "prefix-tuning", "adapter"]

ATTACHMENT = "attachment.json"
"""Tells what a saved backbone carries."""
_WEIGHTS = "attachment.safetensors"


class Attachment(BaseModel):
    """What is attached, and how large it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: AttachmentMethod
    """prompt-tuning, p-tuning, prefix-tuning, or adapter (bottlenecks)."""
    length: int = Field(default=20, ge=1)
    """Places of a soft prompt or a prefix."""
    width: int = Field(default=32, ge=1)
    """Of a bottleneck."""
    hidden: int = Field(default=32, ge=0)
    """Width of the network that makes a p-tuned prompt or a prefix in training; 0 trains a prefix as it is."""


def attached(model: Any) -> Attachment | None:
    """What a model carries; None for nothing."""
    found: Attachment | None = getattr(model, "flanrec_attachment", None)
    return found


def attach(model: Any, attachment: Attachment) -> None:
    """Put untrained modules into a model and freeze everything else.

    Bottlenecks and networks start as no change of what they stand beside; a soft prompt and a prefix are seen from
    the start. What is drawn follows torch's generator.

    Raises
    ------
    SettingsError
        The model carries something already.
    """
    if attached(model) is not None or hasattr(model, "peft_config"):
        raise SettingsError("The backbone carries an adapter already. Merge it, or load the backbone anew.")
    model.requires_grad_(False)
    if attachment.method == "adapter":
        put_in(model, attachment.width)
        for owner, name in last_maps(model):
            getattr(owner, name).base.requires_grad_(False)
    elif attachment.method == "prefix-tuning":
        for attention in attentions(model):
            attention.prefix = Prefix(*starting_pair(attention, attachment.length), attachment.hidden)
    else:
        hidden = attachment.hidden if attachment.method == "p-tuning" else 0
        model.get_encoder().soft_prompt = SoftPrompt(starting_vectors(model, attachment.length), hidden)
    if attachment.method != "adapter":
        for stack in (model.get_encoder(), model.get_decoder()):
            stack.register_forward_pre_hook(_refuse_forward)
    model.flanrec_attachment = attachment


def train_attached(model: Any) -> None:
    """Let what a model carries be trained further, and nothing else."""
    with detached(model):
        frozen = {id(weight) for weight in model.parameters()}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) not in frozen)


def settle(model: Any) -> None:
    """After training: keep what the networks make, without the networks, and freeze it."""
    attachment = attached(model)
    if attachment is None:
        return
    for owner, name, module in list(_modules(model)):
        if isinstance(module, SoftPrompt | Prefix):
            setattr(owner, name, module.settled())
    for _, _, module in _modules(model):
        module.requires_grad_(False)
    model.flanrec_attachment = attachment.model_copy(update={"hidden": 0})


@contextmanager
def detached(model: Any) -> Iterator[Any]:
    """The model without what it carries inside the block; afterwards it carries it again."""
    found = list(_modules(model))
    for owner, name, module in found:
        if isinstance(module, Bottleneck):
            setattr(owner, name, module.base)
        else:
            delattr(owner, name)
    try:
        yield model
    finally:
        for owner, name, module in found:
            setattr(owner, name, module)


def save_attachment(model: Any, folder: Path) -> None:
    """Write what a model carries, settled, as safetensors and JSON.

    Raises
    ------
    SettingsError
        It carries nothing.
    """
    attachment = attached(model)
    if attachment is None:
        raise SettingsError("The backbone carries no attachment.")
    tensors = {}
    for owner, name, module in _modules(model):
        place = _place(model, owner)
        kept = module.settled() if isinstance(module, SoftPrompt | Prefix) else module
        for key, value in kept.state_dict().items():
            if not key.startswith("base."):
                tensors[f"{place}.{name}.{key}"] = value.detach().cpu().contiguous()
    save_file(tensors, folder / _WEIGHTS)
    told = attachment.model_copy(update={"hidden": 0}).model_dump()
    (folder / ATTACHMENT).write_text(json.dumps(told), encoding="utf-8")


def load_attachment(model: Any, folder: Path, *, trainable: bool = False) -> None:
    """Put what `save_attachment` wrote into a model of the same shape, to be read or to be trained further.

    Raises
    ------
    CheckpointError
        It does not fit the model, or is of another version.
    """
    try:
        attachment = Attachment.model_validate_json((folder / ATTACHMENT).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as problem:
        raise CheckpointError(f"{folder} holds no attachment that this version reads: {problem}") from problem
    attach(model, attachment)
    tensors = load_file(folder / _WEIGHTS)
    for owner, name, module in _modules(model):
        place = f"{_place(model, owner)}.{name}."
        own = {key.removeprefix(place): value for key, value in tensors.items() if key.startswith(place)}
        own |= {key: value for key, value in module.state_dict().items() if key.startswith("base.")}
        try:
            module.load_state_dict(own)
        except RuntimeError as problem:
            raise CheckpointError(f"{folder} does not fit the backbone: {problem}") from problem
        for key, weight in module.named_parameters():
            weight.requires_grad_(trainable and not key.startswith("base."))


def refuse_attached(model: Any, what: str) -> None:
    """Refuse a model that carries an attachment, for something that needs a plain T5.

    Raises
    ------
    SettingsError
        It carries one.
    """
    attachment = attached(model)
    if attachment is not None:
        raise SettingsError(
            f"{what} takes a plain T5, and this one carries {attachment.method}, which cannot be merged. "
            "Use the engine torch, or tune by full, lora, dora, rslora, adalora or ia3."
        )


def _modules(model: Any) -> Iterator[tuple[Any, str, Any]]:
    """The attached modules, as their owner, their name there, and themselves."""
    encoder = model.get_encoder()
    if isinstance(getattr(encoder, "soft_prompt", None), SoftPrompt):
        yield encoder, "soft_prompt", encoder.soft_prompt
    for attention in attentions(model):
        if isinstance(getattr(attention, "prefix", None), Prefix):
            yield attention, "prefix", attention.prefix
    for owner, name in last_maps(model):
        if isinstance(getattr(owner, name), Bottleneck):
            yield owner, name, getattr(owner, name)


def _place(model: nn.Module, owner: nn.Module) -> str:
    found: str = next(name for name, module in model.named_modules() if module is owner)
    return found


def _refuse_forward(stack: Any, inputs: Any) -> None:
    """Transformers' own forward pass would leave prompts and prefixes out without a word (peft#2989)."""
    raise SettingsError(
        "This T5 carries a soft prompt or a prefix, which only flanrec's own encoder and decoder read. "
        "Use encoder_states, generate_items or an Engine in place of the model's forward() and generate()."
    )
