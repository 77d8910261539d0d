"""The audit: who did what, to whose data, and why. Append-only, chained, and written in the transaction of the act.

`trail.py` collects the entries of one transaction, `entries.py` writes them, `chaining.py` chains committed entries,
`heads.py` signs the ends of the chains, and `search.py` and `routes.py` let auditors and residents read them.
`canonical.py` defines what is hashed. See `docs/audit.md`.
"""
