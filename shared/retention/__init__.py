"""Retention: how long each kind of data is kept, and that it is really gone afterwards.

The periods are data: each with its source, changed by two people. What removes is one database function of each service
(`purge`), so that nothing at run time can remove what is too young, or is held for a court.
"""
