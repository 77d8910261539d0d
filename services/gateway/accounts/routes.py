"""Routes of staff accounts and of residents' phone codes (G1)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request

from services.gateway.accounts import binding, phones, use_cases
from services.gateway.accounts.schemas import (
    Account,
    AccountChange,
    AccountMade,
    Bound,
    Challenge,
    NewAccount,
    PhoneAsked,
    WhoIAm,
)
from services.gateway.accounts.sending import NoMessageGateway, Sender, can_send
from services.gateway.accounts.use_cases import LoginTaken, OwnAccount
from services.gateway.edge.networks import client_of
from shared.core.actors import Role
from shared.database.paging import Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.router import Caller, ContextDep, PageAsked, Router, Uow
from shared.problems import NotFound, TooManyRequests

router = Router(prefix="/gateway/v1/accounts", tags=["sign-in"])

READERS = Role.COMMAND | Role.SUPERVISOR | Role.AUDITOR

AccountId = Annotated[
    UUID, Path(description="Id of an account of staff.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"])
]


@router.post(
    "", role=Role.COMMAND, raises=[LoginTaken, RegionOutside], status=201, location="/gateway/v1/accounts/{id}"
)
async def add_account(new: NewAccount, uow: Uow) -> AccountMade:
    """Create an account for a member of staff.

    The answer contains a link. It is shown only once and is valid for 24 hours. The owner opens it to set a password,
    and sets up an authenticator at the first sign-in. Grants define what the account may do.
    """
    return await use_cases.add_account(uow, new)


@router.get("", role=READERS)
async def list_accounts(uow: Uow, page: PageAsked) -> Listed[Account]:
    """List the accounts of staff whose home region is in the caller's region."""
    return await use_cases.list_accounts(uow, page)


@router.get("/{account_id}", role=READERS, raises=[NotFound])
async def get_account(account_id: AccountId, uow: Uow) -> Account:
    """Show the account of a member of staff."""
    return await use_cases.get_account(uow, account_id)


@router.patch("/{account_id}", role=Role.COMMAND, raises=[NotFound, OwnAccount])
async def change_account(account_id: AccountId, change: AccountChange, uow: Uow) -> Account:
    """Close or reopen an account. Closing ends its sessions within a second."""
    return await use_cases.change_account(uow, account_id, change)


@router.post("/{account_id}/reset", role=Role.COMMAND, raises=[NotFound, OwnAccount, RegionOutside])
async def reset_account(account_id: AccountId, uow: Uow) -> AccountMade:
    """Reset an account: create a new link. The old password and authenticator stop working."""
    return await use_cases.reset_account(uow, account_id)


def of_residents(send: Sender, renew: binding.Renew) -> Router:
    """Return the routes with which residents request a phone code and link their account."""
    router = Router(prefix="/gateway/v1", tags=["sign-in"])

    @router.post("/account/resident", role=Role.RESIDENT, store_response=False, raises=binding.PROBLEMS)
    async def bind_account(who: WhoIAm, caller: Caller, request: Request, context: ContextDep) -> Bound:
        """Link the signed-in account to a resident.

        The verified phone and the document must be on the same record. You have five attempts an hour; the answer does
        not say which of the two is wrong. Continue with the access token of the answer, because it acts for the
        resident. If you lose the answer, a retry returns `account_bound`: then refresh the token.
        """
        token = request.headers["authorization"].partition(" ")[2].strip()
        return await binding.bind_account(context, caller, who, send, renew, token)

    @router.post("/phone-challenges", role=Role.ANYONE, public=True, raises=[NoMessageGateway])
    async def open_challenge(phone: PhoneAsked, request: Request, context: ContextDep) -> Challenge:
        """Send a code to a phone.

        The answer is the same for every phone. Send the code to `/oauth/token`, with `challenge_id` and
        `challenge_secret`: `grant_type=urn:fangxian:params:oauth:grant-type:phone-code`.
        """
        if not can_send(context.settings):
            raise NoMessageGateway()
        network = client_of(request, context.settings.proxy_networks)
        async with context.system_unit_of_work("phone challenge") as uow:
            opened = await phones.open_challenge(uow, phone.phone, network)
        if isinstance(opened, int):
            raise TooManyRequests(retry_after=opened)
        if opened.message is not None:
            await send(opened.message)
        return Challenge(challenge_id=opened.id, challenge_secret=opened.secret, expires_in=opened.seconds)

    return router
