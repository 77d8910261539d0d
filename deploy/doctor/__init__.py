"""`fangxian doctor`: find problems of an installation and show how to solve them. Changes nothing."""

from deploy import data
from deploy.doctor import configuration, database, machine, processes
from deploy.doctor.finding import Check, Finding, Target
from deploy.trouble import Trouble
from deploy.up import Options

CHECKS: tuple[Check, ...] = (
    machine.python,
    machine.clock,
    machine.root,
    machine.disk,
    machine.directory,
    machine.keys,
    configuration.settings,
    configuration.traces,
    machine.ports,
    processes.supervisor,
    processes.reverse_proxy,
    database.servers,
    database.database,
    database.redis,
)


def examine(options: Options) -> list[Finding]:
    """Run all checks. The findings are in the order in which an operator would solve them."""
    directory = data.at(options.data)
    target = Target(options, directory, data.holder(directory))
    return [finding for check in CHECKS for finding in _run(check, target)]


def _run(check: Check, target: Target) -> list[Finding]:
    name = check.__name__.replace("_", " ")
    try:
        return list(check(target))
    except PermissionError as error:
        return [Finding(name, False, f"{error.filename}: {error.strerror}", "run doctor as the user that runs `up`")]
    except (Trouble, OSError) as error:
        return [Finding(name, False, str(error))]
