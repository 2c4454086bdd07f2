"""What the service keeps in SQLite or PostgreSQL: users, items, events, lists shown, keys, audit log, cases."""

from flanrec.serving.store.database import Database
from flanrec.serving.store.records import Case, Event, Item, Page, User
from flanrec.serving.store.store import Store

__all__ = ["Case", "Database", "Event", "Item", "Page", "Store", "User"]
