"""Whether a tube says something of one person or of several: the one place that decides it, as SQL."""


def pool(tube: str) -> str:
    """The SQL condition that a tube is a pool. `tube` is the name of the table `tubes` in the statement.

    A tube for several people is a pool. So is a tube for one person that holds several: an offline record, a wrong
    code or a moved sample put another person in it. Its positive says of none of them that they are infected, and its
    negative answers no pool.

    The seal decides, not a later record. After the seal no sample is undone or moved, and a record that the manifest
    does not list is refused. A manifest of several records makes the tube a pool from the seal on, until all of them
    are here and turn out to be of one person. So a tube that is single when its result is in force stays single: who
    swabs people cannot turn the positive of a person into a retest by another record. Nor can a record of somebody
    else that the manifest lists make two people positive when it comes late.
    """
    return f"""({tube}.capacity > 1 OR ({tube}.missing > 0 AND cardinality({tube}.manifest) > 1) OR (
        SELECT count(DISTINCT member.resident_id) > 1 FROM samples AS member
        WHERE member.tube_id = {tube}.id AND member.undone_at IS NULL
    ))"""  # noqa: S608 - the name of a table in a statement of this service
