"""Retention: how long each kind of data is kept, and its removal afterwards.

The periods are data. Each has its source, and a change needs two people. Only one database function of each service
(`purge`) removes data, so that no code can remove data before the end of its period or under a legal hold.
"""
