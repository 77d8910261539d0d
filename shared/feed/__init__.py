"""The feed: transfers changes of resources from the owner to the services that need them.

`log.py` is the owner's side: an append-only log, written in the transaction of the change. `reader.py` is the
subscriber's side: it pulls entries, and commits effects, cursor and parked entries together. See `docs/feed.md`.
"""
