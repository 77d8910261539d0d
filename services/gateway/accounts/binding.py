"""Links an account to a resident. The proof is a verified phone and a document that are on the same registry record.

A resident has at most one account, and an account at most one resident. The call to the registry is made between two
transactions, so that no transaction stays open during it.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

from services.gateway.accounts import attempts, phones, rules
from services.gateway.accounts.schemas import Bound, WhoIAm
from services.gateway.accounts.sending import Sender
from services.gateway.accounts.tables import AccountRow, account_of
from services.gateway.accounts.traces import trace
from shared.core.actors import Actor, system
from shared.database.unit_of_work import UnitOfWork
from shared.problems import Forbidden, LocalizedText, Problem, TooManyRequests, UpstreamFailed
from shared.runtime.context import ServiceContext


class AccountBound(Problem):
    """The account is already linked to a resident."""

    status = 409
    code = "account_bound"
    title = LocalizedText(zh="该账号已绑定居民信息", en="This account is already linked to a resident")
    fix = LocalizedText(zh="如绑定有误，请联系社区", en="If the link is wrong, ask your community")


class ResidentBound(Problem):
    """The resident already has an account."""

    status = 409
    code = "resident_bound"
    title = LocalizedText(zh="该居民已有账号", en="This resident already has an account")
    fix = LocalizedText(zh="请用原账号登录，或联系社区", en="Sign in with that account, or ask your community")


class PhoneTaken(Problem):
    """The phone number belongs to another account."""

    status = 409
    code = "phone_taken"
    title = LocalizedText(zh="该手机号已有账号", en="This phone number already has an account")
    fix = LocalizedText(zh="请用该手机号登录", en="Sign in with this phone number")


class PhoneUnproven(Problem):
    """The phone number is not verified, or the code is wrong."""

    status = 422
    code = "phone_unproven"
    title = LocalizedText(zh="手机号未验证或验证码错误", en="The phone number is not verified, or the code is wrong")
    fix = LocalizedText(zh="请重新获取验证码后再试", en="Request a new code and send it with this request")


class NotRecognised(Problem):
    """No record has both the phone number and the document."""

    status = 422
    code = "not_recognised"
    title = LocalizedText(zh="未能核实您的身份", en="Your identity could not be confirmed")
    fix = LocalizedText(
        zh="请核对证件号码；如手机号与登记的不一致，请联系社区更新",
        en="Check the document number. If your phone number on record is another one, ask your community to update it",
    )


class NotBound(Problem):
    """The caller has signed in, but the account is not linked to a resident."""

    status = 403
    code = "not_bound"
    title = LocalizedText(zh="您还没有绑定身份信息", en="Your account is not linked to a resident yet")
    fix = LocalizedText(
        zh="请先使用证件号码和手机号完成绑定",
        en="First link it with your document number and phone number",
    )


PROBLEMS = (AccountBound, ResidentBound, PhoneTaken, PhoneUnproven, NotRecognised)


Renew = Callable[[UnitOfWork, str], Awaitable[tuple[str, int] | None]]
"""Returns a new access token for the session of a token and its lifetime in seconds; None if the session is unknown."""


async def bind_account(
    context: ServiceContext, caller: Actor, who: WhoIAm, send: Sender, renew: Renew, token: str
) -> Bound:
    """Link the caller's account to the resident they prove to be, and issue an access token for this resident."""
    account_id = account_of(caller.subject)
    if account_id is None:
        raise Forbidden()
    phone = await _proven_phone(context, account_id, who, send)
    query = {"document_type": who.document_type, "document_number": who.document_number, "phone": phone}
    path = "/registry/v1/residents/recognise"
    answer = await context.service_clients.call(
        "registry", "POST", path, system("gateway").during(caller.request_id), json=query
    )
    if answer.status_code != 200:
        raise UpstreamFailed()
    match = answer.json()["resident_id"]
    if match is None:
        raise NotRecognised()
    resident_id = UUID(match)
    async with context.system_unit_of_work("bind") as uow:
        account = await uow.lock(AccountRow, account_id)
        if account.resident_id is not None:
            raise AccountBound()
        account.resident_id = resident_id
        trace(uow, "account_bound", account_id)
        uow.record_access([resident_id])
        renewed = await renew(uow, token)
    if renewed is None:
        return Bound(resident_id=resident_id)
    return Bound(resident_id=resident_id, access_token=renewed[0], token_type="Bearer", expires_in=renewed[1])  # noqa: S106


async def _proven_phone(context: ServiceContext, account_id: UUID, who: WhoIAm, send: Sender) -> str:
    """Count the attempt and return the account's phone. A phone verified in this request becomes the account's."""
    tried = phones.Tried()
    async with context.system_unit_of_work("recognise") as uow:
        wait = await attempts.take(uow, rules.recognition_lanes(account_id))
        account = await uow.lock(AccountRow, account_id)
        known, is_bound = account.phone, account.resident_id is not None
        if who.phone is not None and not (wait or is_bound or known):
            proof = who.phone
            tried = await phones.try_code(uow, proof.challenge_id, proof.challenge_secret, proof.code)
    if tried.message is not None:
        await send(tried.message)
    if wait:
        raise TooManyRequests(retry_after=wait)
    if is_bound:
        raise AccountBound()
    if known is None and tried.phone is None:
        raise PhoneUnproven()
    if known is None:
        async with context.system_unit_of_work("recognise") as uow:
            account = await uow.lock(AccountRow, account_id)
            account.phone, account.phone_index = tried.phone, phones.index_of(uow, tried.phone or "")
    return known or tried.phone or ""
