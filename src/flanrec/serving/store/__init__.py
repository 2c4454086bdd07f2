"""What the service keeps in SQLite or PostgreSQL: users, items, events, lists shown, keys and an audit log."""

from flanrec.serving.store.database import Database
from flanrec.serving.store.records import Event, Item, Page, User
from flanrec.serving.store.store import Store

__all__ = ["Database", "Event", "Item", "Page", "Store", "User"]
