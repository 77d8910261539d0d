"""`fangxian bench`: one page of ratios. Each compares a performance-critical path with its floor in the same run.

The server under test has its own core; the load generator, PostgreSQL and Valkey share the other. Read `run.py` first:
it defines what is measured in which order. Each path is a module of `paths/`.
"""
