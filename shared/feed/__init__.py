"""The feed: how a fact travels from its owner to the services that need it.

`log.py` is the owner's side: an append-only log, written in the transaction of the change. `reader.py` is the
subscriber's: it pulls, and commits effects, cursor and what it parked together. `docs/feed.md` tells the whole.
"""
