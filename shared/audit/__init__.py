"""The audit: who did what, to whose data, why; in the same transaction, append-only, and chained.

`trail.py` gathers what one transaction leaves behind, `entries.py` writes it, `sealer.py` chains what is committed,
`heads.py` signs the ends of the chains, `search.py` and `routes.py` let auditors and residents read. What is hashed is
said in `canonical.py`; `docs/audit.md` tells the whole.
"""
