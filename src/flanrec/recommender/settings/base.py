"""What all groups of settings share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

TeacherName = Literal["blend", "none"]


class Settings(BaseModel):
    """A group of settings: unknown names are refused, and every field says what it does."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
