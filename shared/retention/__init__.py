"""Retention: how long each kind of data is kept, and that it is really gone afterwards.

The periods are data: each has its source, and two people change it. Only functions of the database remove data, one for
each kind (`purge_visits`), so that nothing at run time can remove what is too young or held for a court.
"""
