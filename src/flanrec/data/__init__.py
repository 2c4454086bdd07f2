"""Behaviour logs and item text: reading, validating, splitting and profiling."""

from __future__ import annotations

from flanrec.data.dataset import Dataset, load_interactions, load_items
from flanrec.data.examples import load_examples
from flanrec.data.problems import BadRowsError
from flanrec.data.profiles import ItemFacts, Profile, item_facts, profile, profile_of, profiles
from flanrec.data.public import cache_dir, fetch, load_dataset
from flanrec.data.readers import read_table
from flanrec.data.sequences import Sequences
from flanrec.data.splits import Split, assert_no_leak, cold_items, few_users, leave_one_out, new_users, temporal

__all__ = [
    "BadRowsError",
    "Dataset",
    "ItemFacts",
    "Profile",
    "Sequences",
    "Split",
    "assert_no_leak",
    "cache_dir",
    "cold_items",
    "fetch",
    "few_users",
    "item_facts",
    "leave_one_out",
    "load_dataset",
    "load_examples",
    "load_interactions",
    "load_items",
    "new_users",
    "profile",
    "profile_of",
    "profiles",
    "read_table",
    "temporal",
]
