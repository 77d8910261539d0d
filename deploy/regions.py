"""`fangxian regions`: which district an installation serves, and the import of lists of regions."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.trouble import Trouble
from services.registry.regions.files import GBT2260, FileFault, Lines, read, shipped
from shared.core.regions import level_of, parent_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from migrations.regions import Outcome

SAMPLE_COUNTY = "350582"
COUNTY = 6


@dataclass(frozen=True)
class Chosen:
    """The choice of regions in the environment."""

    region: str = ""
    """FANGXIAN_REGION: the region that the installation serves."""
    file: Path | None = None
    """FANGXIAN_REGIONS_FILE: imported at each start."""

    @property
    def wants_sample(self) -> bool:
        """Whether to import the regions of the demo: no other file and no other district is chosen."""
        return self.file is None and (not self.region or self.region.startswith(SAMPLE_COUNTY))


def chosen(environment: Mapping[str, str] = os.environ) -> Chosen:
    """Read the choice from the environment."""
    file = environment.get("FANGXIAN_REGIONS_FILE")
    return Chosen(environment.get("FANGXIAN_REGION", ""), Path(file) if file else None)


def fault_of(code: str) -> str | None:
    """Check the region to serve against the included list. Returns a sentence, or None if it is valid."""
    if not code or level_of(code) is None:
        return None
    lines = {line.code: line for line in shipped(GBT2260).regions}
    known = lines.get(code[:COUNTY])
    if known is None:
        near = get_close_matches(code[:COUNTY], lines, n=1, cutoff=0.6)
        meant = f"; {near[0]} is {lines[near[0]].name}" if near else ""
        return f"there is no region {code[:COUNTY]}{meant}: write the code of your district, as in '350582005'"
    if known.valid_until is not None:
        return f"region {known.code} ({known.name}) was withdrawn in {known.valid_until.year}: write today's code"
    return None


def bring(owner_url: str, choice: Chosen) -> None:
    """Import the chosen file, and check that the chosen region exists. Raises Trouble."""
    if choice.file is not None:
        import_file(owner_url, choice.file)
    if choice.region:
        from migrations import regions, with_owner

        if not with_owner(owner_url, lambda connection: regions.exists(connection, choice.region)):
            raise Trouble(not_there(choice.region))


def not_there(code: str) -> str:
    """Return the error for a region that is in no list."""
    return (
        f"FANGXIAN_REGION: there is no region {code} in this installation: import the list of the district by "
        f"FANGXIAN_REGIONS_FILE or `fangxian regions import`, or choose one above it, as in '{parent_of(code)}'."
    )


def import_file(owner_url: str, path: Path) -> "Outcome":
    """Add and rename the regions of a file."""
    from migrations import regions

    lines = _lines_of(path)
    return _done(owner_url, path, lambda connection: regions.import_file(connection, lines, "fangxian regions import"))


def update_from_file(owner_url: str, path: Path, below: str) -> "Outcome":
    """Import a file, and withdraw the regions below `below` that it does not name."""
    from datetime import timedelta

    from migrations import regions
    from shared.core import clock
    from shared.core.days import day_of

    if level_of(below) is None:
        raise Trouble(f"--below {below} must be the code of a region, for example 350582.")
    lines = _lines_of(path)
    yesterday = day_of(clock.now()) - timedelta(days=1)
    operation = f"fangxian regions update --below {below}"
    return _done(
        owner_url,
        path,
        lambda connection: regions.update_from_file(connection, lines, below, yesterday, operation),
    )


def _lines_of(path: Path) -> Lines:
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}.") from None
    except FileFault as fault:
        raise Trouble(_describe(path, fault)) from None


def _done(owner_url: str, path: Path, act: "Callable[[Connection], Outcome]") -> "Outcome":
    from migrations import with_owner

    try:
        return with_owner(owner_url, act)
    except FileFault as fault:
        raise Trouble(_describe(path, fault)) from None


def _describe(path: Path, fault: FileFault) -> str:
    more = fault.count - len(fault.faults)
    lines = [*fault.faults, *([f"and {more} more"] if more else [])]
    if len(lines) == 1:
        return f"{path} was not imported: {lines[0]}."
    return "\n".join([f"{path} was not imported:", *(f"- {line}." for line in lines)])
