"""Checks of the settings."""

import importlib.util
from collections.abc import Iterator

from deploy import status, variables
from deploy.doctor.finding import Finding, Target
from deploy.trouble import Trouble
from shared.core.settings import Settings
from shared.observability import tracing


def settings(target: Target) -> Iterator[Finding]:
    """Check the settings, and report unknown variables."""
    for sentence in variables.unknown():
        yield Finding("unknown setting", False, sentence, "correct its name, or unset it")
    try:
        settings = settings_of(target)
    except Trouble as trouble:
        yield Finding("settings", False, str(trouble), "change the FANGXIAN_… variables")
        return
    yield _residents(settings)
    if settings.production:
        yield Finding("settings", True, "for production")
        yield Finding(
            "notices",
            bool(settings.headquarters),
            settings.headquarters or "the name of the headquarters is left blank",
            "set FANGXIAN_HEADQUARTERS, as in '新塘街道疫情防控指挥部'",
            is_warning=True,
        )
        return
    switches = {
        "FANGXIAN_DEVELOPMENT_ISSUER": settings.development_issuer,
        "FANGXIAN_DEMONSTRATION_IDS": settings.demonstration_ids,
    }
    enabled = ", ".join(name for name, value in switches.items() if value)
    yield Finding("settings", True, f"for development ({enabled or 'no development feature is on'})")


def settings_of(target: Target) -> Settings:
    """Return the settings of the running processes, or those that a start from this shell would use.

    The settings of running processes are not checked again: they were checked at the start, in an environment that may
    differ from this one.
    """
    running = (status.read(target.directory.status) or {}) if target.pid is not None else {}
    if values := running.get("settings"):
        return Settings.model_construct(**values)
    return variables.check(target.directory.keys)


def _residents(settings: Settings) -> Finding:
    return Finding(
        "residents",
        settings.lets_residents_in,
        "can sign in"
        if settings.lets_residents_in
        else "residents cannot sign in: FANGXIAN_PHONE_GATEWAY_URL is not set",
        "set FANGXIAN_PHONE_GATEWAY_URL, as in 'https://sms.example.cn/fangxian', and FANGXIAN_PHONE_GATEWAY_SECRET: "
        "docs/first-day.md describes the requests that are sent there",
    )


def traces(_: Target) -> Iterator[Finding]:
    """Check that traces can be sent, if the environment asks for them."""
    if tracing.is_wanted():
        is_installed = importlib.util.find_spec("opentelemetry.sdk") is not None
        result = "sent" if is_installed else "requested, but not sent"
        yield Finding("traces", is_installed, result, "pip install 'fangxian[otel]'")
