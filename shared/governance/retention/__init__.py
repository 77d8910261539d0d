"""Retention: how long each kind of data is kept, and its removal afterwards.

The periods are data. Each has its source, and a change needs two people. Only functions of the database remove data,
one for each kind (`purge_visits`), so that no code can remove data before the end of its period or under a legal hold.
"""
