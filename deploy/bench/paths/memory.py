"""Path 10: the memory of each process, idle and after a load."""

from collections.abc import Mapping

from deploy.bench.page import Figure

MEGABYTE = 1024**2


def figure(idle: Mapping[str, int], after: Mapping[str, int], load: str) -> Figure:
    """One line for all processes together, and a note for each."""
    total_idle, total_after = sum(idle.values()), sum(after.values())
    return Figure(
        "memory",
        f"memory of all processes after {load}",
        f"{total_after // MEGABYTE:,} MB",
        f"idle {total_idle // MEGABYTE:,} MB",
        total_after / total_idle,
        notes=[f"{name} {idle[name] // MEGABYTE} → {after.get(name, 0) // MEGABYTE} MB" for name in sorted(idle)],
        numbers={
            **{f"{name}_idle_bytes": size for name, size in idle.items()},
            **{f"{name}_after_bytes": size for name, size in after.items()},
        },
    )
