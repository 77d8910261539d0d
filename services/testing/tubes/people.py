"""Decides whether a tube is a pool, as an SQL condition. No other code decides it."""


def pool(tube: str) -> str:
    """Return the SQL condition that a tube is a pool. `tube` is the alias of the table `tubes` in the statement.

    A tube with capacity for several people is a pool. A tube for one person is also a pool if it holds several,
    because an offline record, a wrong code or a moved sample put another person in it. A positive pool does not say
    who is infected, and a negative pool answers no other pool.

    The seal decides, not a later record. After the seal no sample is undone or moved, and a record that the manifest
    does not list is refused. A manifest with several records makes the tube a pool from the seal on, until all of them
    have arrived and belong to one person. So a tube that is single when its result takes effect stays single: a
    sampler cannot turn a person's positive into a retest by adding a record. A listed record of another person that
    arrives late cannot make two people positive.
    """
    return f"""({tube}.capacity > 1 OR ({tube}.missing > 0 AND cardinality({tube}.manifest) > 1) OR (
        SELECT count(DISTINCT member.resident_id) > 1 FROM samples AS member
        WHERE member.tube_id = {tube}.id AND member.undone_at IS NULL
    ))"""  # noqa: S608 - the name of a table in a statement of this service
