"""Accounts of staff: what callers may ask (G1)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request

from services.gateway.accounts import binding, phones, rules, use_cases
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
from shared.actors import Role
from shared.http.router import Caller, PageAsked, Router, TheHouse, Work
from shared.problems import NotFound, TooManyRequests
from shared.work import Listed, RegionOutside

router = Router(prefix="/gateway/v1/accounts", tags=["sign-in"])

READERS = Role.COMMAND | Role.SUPERVISOR | Role.AUDITOR

AccountId = Annotated[
    UUID, Path(description="Id of an account of staff.", examples=["0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"])
]


@router.post(
    "", role=Role.COMMAND, raises=[LoginTaken, RegionOutside], status=201, location="/gateway/v1/accounts/{id}"
)
async def add_account(new: NewAccount, work: Work) -> AccountMade:
    """Let a member of staff sign in.

    The link is shown this once and is good for a day: its owner sets a password there and, when first signing in, an
    authenticator. What they may do, grants say.
    """
    return await use_cases.add_account(work, new)


@router.get("", role=READERS)
async def list_accounts(work: Work, page: PageAsked) -> Listed[Account]:
    """List the staff whose home region lies within the caller's."""
    return await use_cases.list_accounts(work, page)


@router.get("/{account_id}", role=READERS, raises=[NotFound])
async def get_account(account_id: AccountId, work: Work) -> Account:
    """Show an account of staff."""
    return await use_cases.get_account(work, account_id)


@router.patch("/{account_id}", role=Role.COMMAND, raises=[NotFound, OwnAccount])
async def change_account(account_id: AccountId, change: AccountChange, work: Work) -> Account:
    """Close an account, or open it again. Closing ends its sessions within a second."""
    return await use_cases.change_account(work, account_id, change)


@router.post("/{account_id}/reset", role=Role.COMMAND, raises=[NotFound, OwnAccount, RegionOutside])
async def reset_account(account_id: AccountId, work: Work) -> AccountMade:
    """Give somebody who lost password or authenticator a new link; what they had proves nothing any more."""
    return await use_cases.reset_account(work, account_id)


def of_residents(send: Sender) -> Router:
    """Where apps of residents ask for a code, and residents say who they are."""
    router = Router(prefix="/gateway/v1", tags=["sign-in"])

    @router.post("/account/resident", role=Role.RESIDENT, raises=binding.PROBLEMS)
    async def bind_account(who: WhoIAm, caller: Caller, house: TheHouse) -> Bound:
        """Say which resident one is.

        The phone one signed in by and the document must be on one record. Five tries an hour; whichever is wrong, the
        answer is the same. Afterwards refresh the token: it then acts for the resident.
        """
        return await binding.bind_account(house, caller, who, send)

    @router.post("/phone-challenges", role=Role.ANYONE, open=True, raises=[NoMessageGateway])
    async def open_challenge(asked: PhoneAsked, request: Request, house: TheHouse) -> Challenge:
        """Have a code sent to a phone.

        The answer is the same whoever's phone it is. The code goes to `/oauth/token`, with `challenge_id` and
        `challenge_secret`: `grant_type=urn:fangxian:params:oauth:grant-type:phone-code`.
        """
        if not can_send(house.settings):
            raise NoMessageGateway()
        network = client_of(request, house.settings.proxy_networks)
        async with house.system_work("phone challenge") as work:
            opened = await phones.open_challenge(work, asked.phone, network)
        if isinstance(opened, int):
            raise TooManyRequests(retry_after=opened)
        if opened.message is not None:
            await send(opened.message)
        seconds = int(rules.LONG_CODE_LIFETIME.total_seconds())
        return Challenge(challenge_id=opened.id, challenge_secret=opened.secret, expires_in=seconds)

    return router
