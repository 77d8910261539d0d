"""The sign-in pages: rendered here, without script, in Chinese and English, usable by keyboard and screen reader.

Everything that is filled in is escaped. The policy lets in nothing but the one style sheet below.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from string import Template

import segno
from starlette.responses import HTMLResponse

from shared.problems import Language, Text

STYLE = """
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 26rem; margin: 2rem auto; padding: 0 1rem; color: #111;
       background: #fff; }
h1 { font-size: 1.5rem; }
label, legend { display: block; margin-top: 1rem; font-weight: 600; }
input[type=text], input[type=password], input[type=tel] { width: 100%; box-sizing: border-box; font: inherit;
       padding: .6rem; border: 2px solid #555; border-radius: .3rem; }
button { font: inherit; margin-top: 1.2rem; padding: .7rem 1.4rem; border: 0; border-radius: .3rem;
       background: #0b5394; color: #fff; }
button.plain { background: #fff; color: #0b5394; border: 2px solid #0b5394; }
:focus-visible { outline: 3px solid #b45f06; outline-offset: 2px; }
.fault { border-left: .4rem solid #b00020; padding: .4rem .8rem; background: #fdecee; }
fieldset { border: 0; padding: 0; margin: 0; }
fieldset label { font-weight: 400; }
code, li { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
svg { width: 12rem; height: 12rem; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

PAGE = Template("""<!doctype html>
<html lang="$language">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>$prefix$title · 防线 Fangxian</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$fault
$body
</main>
</body>
</html>
""")

T = Text
SIGN_IN = T(zh="登录", en="Sign in")
STAFF = T(zh="工作人员", en="Staff")
RESIDENT = T(zh="居民", en="Residents")
LOGIN = T(zh="用户名", en="Sign-in name")
NAME = T(zh="姓名", en="Name")
PASSWORD = T(zh="密码", en="Password")
NEW_PASSWORD = T(zh="新密码（至少 12 个字符）", en="New password (at least 12 characters)")
NEXT = T(zh="下一步", en="Next")
PHONE = T(zh="手机号", en="Mobile number")
SEND_CODE = T(zh="发送验证码", en="Send a code")
CODE = T(zh="收到的验证码", en="The code you were sent")
DIGITS = T(zh="身份验证器的 6 位数字，或一个恢复码", en="The 6 digits of your authenticator, or a recovery code")
FIRST_DIGITS = T(zh="身份验证器显示的 6 位数字", en="The 6 digits your authenticator shows")
SECOND_FACTOR = T(zh="第二步验证", en="Second step")
SET_UP = T(zh="设置身份验证器", en="Set up your authenticator")
SCAN = T(zh="请用身份验证器应用扫描，或输入密钥：", en="Scan this with an authenticator app, or enter the key:")
QR = T(zh="身份验证器二维码", en="QR code for the authenticator")
KEEP_CODES = T(zh="请保存恢复码", en="Keep your recovery codes")
KEEP_WHY = T(
    zh="手机丢失时，每个恢复码可登录一次。它们只显示这一次，请抄写或打印。",
    en="If you lose your phone, each signs you in once. They are shown only now: write them down or print them.",
)
KEPT = T(zh="我已保存", en="I have kept them")
CHOOSE = T(zh="以哪个身份登录？", en="What do you act as?")
SENT = T(zh="验证码已发送到 {phone}。", en="A code was sent to {phone}.")
AGAIN = T(zh="重新发送", en="Send it again")
OTHER_PHONE = T(zh="换一个手机号", en="Another number")
TO = T(zh="登录到 {client}", en="to {client}")
SET_PASSWORD = T(zh="设置密码", en="Set your password")
FIRST = T(zh="第一位管理员", en="The first administrator")
DONE = T(zh="已设置", en="Done")
DONE_WHERE = T(zh="现在可以登录了，请打开您的应用：", en="You can sign in now. Open your application:")
DONE_NOWHERE = T(
    zh="现在可以登录了，但还没有登记任何应用。请由安装者用 fangxian clients add 登记（见 docs/first-day.md）。",
    en="You can sign in now, as soon as there is an application: whoever runs the installation registers one by "
    "fangxian clients add, as docs/first-day.md shows.",
)
CANNOT = T(zh="无法登录", en="You cannot be signed in")

FAULTS: dict[str, Text] = {
    "wrong": T(zh="不正确，请再试一次。", en="That is not right. Try again."),
    "wait": T(zh="尝试过多，请在 {wait} 秒后再试。", en="Too many tries. Try again in {wait} seconds."),
    "over": T(zh="验证码已失效，请重新获取。", en="The code is no longer good. Ask for another."),
    "phone_form": T(zh="请输入能接收短信的手机号。", en="Enter a mobile number that can receive messages."),
    "no_codes": T(
        zh="暂时无法发送验证码，请联系所在社区。", en="Codes cannot be sent to phones. Ask your community office."
    ),
    "no_grant": T(zh="您目前没有任何授权，请联系指挥部。", en="You hold no role at present. Ask command for one."),
    "gone": T(zh="此次登录已失效，请从应用重新开始。", en="This sign-in is over. Begin again from your application."),
    "link_gone": T(zh="链接无效、已使用或已过期。", en="The link is wrong, used, or too old."),
    "client": T(
        zh="应用未登记，或回调地址不符。", en="The application is not registered, or its redirect address differs."
    ),
    "origin": T(zh="请求不是从本页面发出的。", en="The request did not come from this page."),
    "form": T(zh="无法读取提交的内容。", en="What was sent cannot be read."),
    "login_form": T(
        zh="用户名为 3 至 50 个小写字母、数字、点、横线。",
        en="A sign-in name is 3 to 50 letters, digits, dots, dashes.",
    ),
    "login_taken": T(zh="该用户名已被使用。", en="This sign-in name is taken."),
    "short": T(zh="密码至少 12 个字符。", en="A password needs at least 12 characters."),
    "long": T(zh="密码最多 128 个字符。", en="A password takes at most 128 characters."),
    "common": T(zh="该密码太常见。", en="This password is too common."),
    "login": T(zh="密码不得包含用户名。", en="A password must not contain the sign-in name."),
}


@dataclass(frozen=True)
class Pages:
    """The pages in one language."""

    language: Language

    def say(self, what: Text, **values: object) -> str:
        """A text, escaped."""
        return escape(what.say(self.language, values))

    def page(
        self,
        title: Text,
        body: Iterable[str],
        *,
        fault: str = "",
        status: int = 200,
        goes_to: str = "",
        **values: object,
    ) -> HTMLResponse:
        """A whole page. `goes_to` is where a form may lead beside here."""
        told = ""
        if fault:
            words = self.say(FAULTS[fault], **{name: values[name] for name in FAULTS[fault].names})
            told = f'<p class="fault" role="alert">{words}</p>'
        html = PAGE.substitute(
            language=self.language,
            prefix="⚠ " if fault else "",
            title=self.say(title),
            style=STYLE,
            fault=told,
            body="\n".join(body),
        )
        return HTMLResponse(html, status, headers(self.language, goes_to))

    def form(self, act: str, fields: Iterable[str], button: Text, token: str, plain: bool = False) -> str:
        """A form that posts to the page it is on."""
        kind = ' class="plain"' if plain else ""
        hidden = f'<input type="hidden" name="token" value="{escape(token)}">' + (
            f'<input type="hidden" name="act" value="{escape(act)}">'
        )
        inside = "\n".join(fields)
        return f'<form method="post">{hidden}\n{inside}\n<button{kind}>{self.say(button)}</button></form>'

    def field(self, name: str, label: Text, complete: str, kind: str = "text", more: str = "") -> str:
        """A labelled field."""
        return (
            f'<label for="{name}">{self.say(label)}</label>'
            f'<input id="{name}" name="{name}" type="{kind}" autocomplete="{complete}" required maxlength="200" {more}>'
        )

    def options(self, name: str, label: Text, options: Sequence[tuple[str, str]]) -> str:
        """One of several."""
        rows = "".join(
            f'<label><input type="radio" name="{name}" value="{escape(value)}" required> {escape(words)}</label>'
            for value, words in options
        )
        return f"<fieldset><legend>{self.say(label)}</legend>{rows}</fieldset>"

    def link(self, words: str, to: str) -> str:
        """Words that lead somewhere, or just the words."""
        return f'<a href="{escape(to)}">{escape(words)}</a>' if to else escape(words)

    def picture(self, text: str) -> str:
        """A QR code, with its meaning for those who cannot see it."""
        out = io.BytesIO()
        segno.make(text, error="m").save(out, kind="svg", xmldecl=False, svgns=False, scale=4, omitsize=False)
        return f'<div role="img" aria-label="{self.say(QR)}">{out.getvalue().decode()}</div>'


DIGITS_ONLY = 'inputmode="numeric" spellcheck="false"'
NO_CASE = 'autocapitalize="none" spellcheck="false"'


def headers(language: Language, goes_to: str = "") -> dict[str, str]:
    """What every page is sent with."""
    return {
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self' {goes_to}".rstrip()
            + "; frame-ancestors 'none'; base-uri 'none'"
        ),
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "content-language": language,
        "vary": "accept-language",
        "cache-control": "no-store",
    }
