"""The forms of a sign-in: what is shown at each stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyotp

from services.gateway.issuer import pages, rules, words
from services.gateway.issuer.pages import Fault, Pages
from services.gateway.issuer.tables import Stage
from shared.problems import Text


@dataclass(frozen=True)
class View:
    """Where a sign-in stands, as its browser may see it."""

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
    """What was sent with the form that was refused; passwords and codes are not shown again."""


def body_of(said: Pages, view: View) -> tuple[Text, list[str]]:
    """Title and forms of the stage a sign-in has reached."""
    title, forms = BODIES.get(view.stage, _start)(said, view)
    told = [] if view.fault is None or any('role="alert"' in form for form in forms) else [said.fault(view.fault)]
    return title, [_where(said, view), *told, *forms]


def _where(said: Pages, view: View) -> str:
    client = view.asked["client"]
    if "device" not in view.asked:
        return f"<p>{said.say(words.TO, client=client)}</p>"
    code = rules.user_code_shown(view.asked["device"])
    told = said.say(words.DEVICE_ASKS, client=client, network=view.asked["network"], code=code)
    return f'<p class="notice">{told}</p>'


def _start(said: Pages, view: View) -> tuple[Text, list[str]]:
    people = view.asked.get("people", "everyone")
    fields = [
        said.field("login", words.LOGIN, "username", more=pages.NO_CASE, value=view.typed.get("login", "")),
        said.field("password", words.PASSWORD, "current-password", "password"),
    ]
    staff = said.form("password", fields, words.NEXT, view.token, fault=view.fault)
    residents = _phone(said, view)
    if people == "staff":
        return words.SIGN_IN, [staff]
    if people == "residents":
        return words.SIGN_IN, [residents]
    return words.SIGN_IN, [
        f"<h2>{said.say(words.RESIDENT)}</h2>{residents}",
        f"<h2>{said.say(words.STAFF)}</h2>{staff}",
    ]


def _phone(said: Pages, view: View, again: bool = False) -> str:
    label = words.OTHER_PHONE if again else words.PHONE
    fields = [said.field("phone", label, "tel", "tel", value=view.typed.get("phone", ""))]
    return said.form("phone", fields, words.SEND_CODE, view.token, plain=again, fault=view.fault)


def _phone_code(said: Pages, view: View) -> tuple[Text, list[str]]:
    fields = [said.field("code", words.CODE, "one-time-code", more=pages.DIGITS_ONLY)]
    return words.SIGN_IN, [
        f"<p>{said.say(words.SENT, phone=view.phone)}</p>",
        said.form("phone_code", fields, words.NEXT, view.token, fault=view.fault),
        said.form("phone_again", [], words.AGAIN, view.token, plain=True, fault=view.fault),
        _phone(said, view, again=True),
    ]


def _authenticator(said: Pages, view: View) -> tuple[Text, list[str]]:
    if view.by_recovery:
        fields = [said.field("code", words.RECOVERY, "off", more=pages.NO_CASE)]
        other = said.link(words.USE_DIGITS.say(said.language), "?")
    else:
        fields = [said.field("code", words.DIGITS, "one-time-code", more=pages.DIGITS_ONLY)]
        other = said.link(words.USE_RECOVERY.say(said.language), "?with=recovery")
    form = said.form("digits", fields, words.NEXT, view.token, fault=view.fault)
    return words.SECOND_FACTOR, [form, f"<p>{other}</p>"]


def _enrol(said: Pages, view: View) -> tuple[Text, list[str]]:
    uri = pyotp.TOTP(view.authenticator).provisioning_uri(name=view.login, issuer_name="Fangxian")
    fields = [said.field("code", words.DIGITS, "one-time-code", more=pages.DIGITS_ONLY)]
    return words.SET_UP, [
        f"<p>{said.say(words.SCAN)}</p>{said.picture(uri)}",
        f"<p>{said.link(words.OPEN_APP.say(said.language), uri)}</p>",
        f"<p>{said.say(words.KEY)} <code>{view.authenticator}</code></p>",
        said.form("enrol", fields, words.NEXT, view.token, fault=view.fault),
    ]


def _grant(said: Pages, view: View) -> tuple[Text, list[str]]:
    if not view.options:
        return words.SIGN_IN, []
    fields = [said.options("grant_id", words.CHOOSE, view.options)]
    return words.SIGN_IN, [said.form("continue", fields, words.NEXT, view.token)]


BODIES = {"phone": _phone_code, "authenticator": _authenticator, "enrol": _enrol, "grant": _grant}
