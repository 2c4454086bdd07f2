"""Trees in LightGBM's own text form, read as if somebody meant harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flanrec.errors import CheckpointError

_HEAD = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
_BY_MISSING = frozenset({0, 2, 4, 6, 8, 10})
"""Kinds of decisions on numbers: where missing values go, and which these are."""


def rewritten(text: str, n_features: int) -> str:
    """The same trees in a text made anew of numbers that were looked at.

    LightGBM follows what a text says without looking (CVE-2026-92786): children and features that are none, sizes of
    trees that lie outside the text, an objective with more outputs than there is room for. What is not known to be
    needed is left out.

    Parameters
    ----------
    text
        LightGBM's text form.
    n_features
        Columns that the trees may split on.

    Raises
    ------
    CheckpointError
        A tree is malformed.
    """
    refused = CheckpointError("the trees of the fusion are damaged; save the model again")
    head, *trees = text.split("\nTree=")
    if f"\nmax_feature_idx={n_features - 1}\n" not in head or not trees:
        raise refused
    try:
        sound = [_Tree.read(tree.split("\n\n")[0], n_features) for tree in trees]
    except (KeyError, ValueError):
        raise refused from None
    columns: dict[str, list[Any]] = {
        "max_feature_idx": [n_features - 1],
        "objective": ["lambdarank"],
        "feature_names": [f"Column_{column}" for column in range(n_features)],
        "feature_infos": ["none"] * n_features,
    }
    numbered = (f"Tree={number}\n{tree.text}" for number, tree in enumerate(sound))
    return "\n".join([_HEAD + _lines(columns), *numbered, "end of trees\n"])


@dataclass(frozen=True)
class _Tree:
    features: list[int]
    thresholds: list[float]
    decisions: list[int]
    left: list[int]
    right: list[int]
    values: list[float]

    @classmethod
    def read(cls, text: str, n_features: int) -> _Tree:
        fields = dict(line.partition("=")[::2] for line in text.split("\n")[1:])
        whole = {
            name: [int(value) for value in fields.get(name, "").split()]
            for name in ("split_feature", "decision_type", "left_child", "right_child")
        }
        tree = cls(
            whole["split_feature"],
            [float(value) for value in fields.get("threshold", "").split()],
            whole["decision_type"],
            whole["left_child"],
            whole["right_child"],
            [float(value) for value in fields["leaf_value"].split()],
        )
        tree._check(n_features)
        if (fields["num_leaves"], fields["num_cat"], fields["is_linear"]) != (str(len(tree.values)), "0", "0"):
            raise ValueError
        return tree

    def _check(self, n_features: int) -> None:
        leaves, splits = len(self.values), len(self.features)
        arrays = (self.thresholds, self.decisions, self.left, self.right)
        # Children count nodes from 0, and leaves from -1 downwards; a node comes before its children.
        forward = all(
            -leaves <= child < splits and (child < 0 or child > node)
            for side in (self.left, self.right)
            for node, child in enumerate(side)
        )
        inside = all(0 <= feature < n_features for feature in self.features)
        plain = _BY_MISSING.issuperset(self.decisions) and np.isfinite(self.values).all()
        if splits != leaves - 1 or any(len(array) != splits for array in arrays) or not (forward and inside and plain):
            raise ValueError

    @property
    def text(self) -> str:
        fields: dict[str, list[Any]] = {"num_leaves": [len(self.values)], "num_cat": [0]}
        if self.features:
            fields |= {
                "split_feature": self.features,
                "threshold": self.thresholds,
                "decision_type": self.decisions,
                "left_child": self.left,
                "right_child": self.right,
            }
        return _lines(fields | {"leaf_value": self.values, "is_linear": [0], "shrinkage": [1]}) + "\n"


def _lines(fields: dict[str, list[Any]]) -> str:
    return "".join(f"{name}={' '.join(map(str, values))}\n" for name, values in fields.items())
