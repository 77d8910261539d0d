"""The forms of each stage of a sign-in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyotp

from services.gateway.issuer import messages, pages, rules
from services.gateway.issuer.pages import Fault, Pages
from services.gateway.issuer.tables import Stage
from shared.problems import LocalizedText


@dataclass(frozen=True)
class View:
    """The state of a sign-in that its page shows."""

    stage: Stage
    asked: Mapping[str, Any]
    token: str
    phone: str = ""
    login: str = ""
    authenticator: str = ""
    options: Sequence[tuple[str, str]] = ()
    by_recovery: bool = False
    fault: Fault | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    """The fields of a refused form. Passwords and codes are not shown again."""


def body_of(renderer: Pages, view: View) -> tuple[LocalizedText, list[str]]:
    """Return the title and the forms of the current stage."""
    title, forms = BODIES.get(view.stage, _start)(renderer, view)
    is_shown = any('role="alert"' in form for form in forms)
    faults = [] if view.fault is None or is_shown else [renderer.fault(view.fault)]
    return title, [_where(renderer, view), *faults, *forms]


def _where(renderer: Pages, view: View) -> str:
    client = view.asked["client"]
    if "device" not in view.asked:
        return f"<p>{renderer.render(messages.TO, client=client)}</p>"
    code = rules.user_code_shown(view.asked["device"])
    notice = renderer.render(messages.DEVICE_ASKS, client=client, network=view.asked["network"], code=code)
    return f'<p class="notice">{notice}</p>'


def _start(renderer: Pages, view: View) -> tuple[LocalizedText, list[str]]:
    people = view.asked.get("people", "everyone")
    fields = [
        renderer.field("login", messages.LOGIN, "username", more=pages.NO_CASE, value=view.typed.get("login", "")),
        renderer.field("password", messages.PASSWORD, "current-password", "password"),
    ]
    staff = renderer.form("password", fields, messages.NEXT, view.token, fault=view.fault)
    residents = _phone(renderer, view)
    if people == "staff":
        return messages.SIGN_IN, [staff]
    if people == "residents":
        return messages.SIGN_IN, [residents]
    return messages.SIGN_IN, [
        f"<h2>{renderer.render(messages.RESIDENT)}</h2>{residents}",
        f"<h2>{renderer.render(messages.STAFF)}</h2>{staff}",
    ]


def _phone(renderer: Pages, view: View, again: bool = False) -> str:
    label = messages.OTHER_PHONE if again else messages.PHONE
    fields = [renderer.field("phone", label, "tel", "tel", value=view.typed.get("phone", ""))]
    return renderer.form("phone", fields, messages.SEND_CODE, view.token, plain=again, fault=view.fault)


def _phone_code(renderer: Pages, view: View) -> tuple[LocalizedText, list[str]]:
    fields = [renderer.field("code", messages.CODE, "one-time-code", more=pages.DIGITS_ONLY)]
    return messages.SIGN_IN, [
        f"<p>{renderer.render(messages.SENT, phone=view.phone)}</p>",
        renderer.form("phone_code", fields, messages.NEXT, view.token, fault=view.fault),
        renderer.form("phone_again", [], messages.AGAIN, view.token, plain=True, fault=view.fault),
        _phone(renderer, view, again=True),
    ]


def _authenticator(renderer: Pages, view: View) -> tuple[LocalizedText, list[str]]:
    if view.by_recovery:
        fields = [renderer.field("code", messages.RECOVERY, "off", more=pages.NO_CASE)]
        other = renderer.link(messages.USE_DIGITS.render(renderer.language), "?")
    else:
        fields = [renderer.field("code", messages.DIGITS, "one-time-code", more=pages.DIGITS_ONLY)]
        other = renderer.link(messages.USE_RECOVERY.render(renderer.language), "?with=recovery")
    form = renderer.form("digits", fields, messages.NEXT, view.token, fault=view.fault)
    return messages.SECOND_FACTOR, [form, f"<p>{other}</p>"]


def _enrol(renderer: Pages, view: View) -> tuple[LocalizedText, list[str]]:
    uri = pyotp.TOTP(view.authenticator).provisioning_uri(name=view.login, issuer_name="Fangxian")
    fields = [renderer.field("code", messages.DIGITS, "one-time-code", more=pages.DIGITS_ONLY)]
    return messages.SET_UP, [
        f"<p>{renderer.render(messages.SCAN)}</p>{renderer.picture(uri)}",
        f"<p>{renderer.link(messages.OPEN_APP.render(renderer.language), uri)}</p>",
        f"<p>{renderer.render(messages.KEY)} <code>{view.authenticator}</code></p>",
        renderer.form("enrol", fields, messages.NEXT, view.token, fault=view.fault),
    ]


def _grant(renderer: Pages, view: View) -> tuple[LocalizedText, list[str]]:
    if not view.options:
        return messages.SIGN_IN, []
    fields = [renderer.options("grant_id", messages.CHOOSE, view.options)]
    return messages.SIGN_IN, [renderer.form("continue", fields, messages.NEXT, view.token)]


BODIES = {"phone": _phone_code, "authenticator": _authenticator, "enrol": _enrol, "grant": _grant}
