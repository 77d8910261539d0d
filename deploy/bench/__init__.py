"""`fangxian bench`: one page of ratios, each a hot path of the real services against its floor in the same run.

The server under test has one core to itself; the generator, PostgreSQL and Valkey share the other. Read `run.py` first:
it says what is measured in which order. Each path is a module of `paths/`.
"""
