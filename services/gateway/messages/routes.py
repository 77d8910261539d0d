"""Routes of hooks: messages that other systems post, and the registration of these systems (G7, O4)."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response

from services.gateway.clients.use_cases import PartyEverywhere
from services.gateway.messages import use_cases
from services.gateway.messages.schemas import (
    EXAMPLE_POST,
    HookSource,
    HookSourceMade,
    MessageShown,
    NewHookSource,
    Posted,
    Received,
)
from services.gateway.messages.tables import Source
from services.gateway.messages.use_cases import (
    HookSourcesFull,
    HookSourceTaken,
    MessageIdReused,
    SignatureAhead,
    SignatureExpired,
    SignatureInvalid,
)
from shared.core.actors import Role, system
from shared.database.paging import Listed
from shared.database.unit_of_work import RegionOutside
from shared.http.limits import check_content_type
from shared.http.router import PageAsked, Router, Uow
from shared.problems import NotFound

HOOKS = "/gateway/v1/hooks/"
BODY_BYTES = 256 << 10

hooks = Router(prefix="/gateway/v1/hooks", tags=["hooks"])
sources = Router(prefix="/gateway/v1/hook-sources", tags=["hooks"])
messages = Router(prefix="/gateway/v1/messages", tags=["hooks"])

EXAMPLE_ID = "0199c2a4-5d1e-7c3b-9a40-3f1f6b2d8e10"
SourceId = Annotated[UUID, Path(description="Id of a hook source.", examples=[EXAMPLE_ID])]
MessageId = Annotated[UUID, Path(alias="kept_id", description="Id of a message in this system.", examples=[EXAMPLE_ID])]
"""Differs from `message_id`, which is the sender's id."""

SIGNED_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Posted.model_json_schema(), "example": EXAMPLE_POST}},
    },
    "parameters": [
        {"name": name, "in": "header", "required": True, "description": what, "schema": {"type": "string"}}
        for name, what in (
            ("webhook-id", "The sender's id of the message. Use the same id when you send the message again."),
            ("webhook-timestamp", "When the message was sent, in Unix seconds. At most five minutes from now."),
            (
                "webhook-signature",
                "`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`. Separate several by spaces.",
            ),
        )
    ],
}


@hooks.post(
    "/{source}",
    role=Role.MACHINE,
    public=True,
    status=202,
    raises=[SignatureInvalid, SignatureExpired, SignatureAhead, MessageIdReused],
    location="/gateway/v1/messages/{id}",
    also={200: "The message was received before; the answer is the same."},
    extra=SIGNED_BODY,
)
async def receive_message(
    source: Annotated[Source, Path(description="The kind of system that sends.", examples=["desk_120"])],
    request: Request,
    response: Response,
    uow: Uow,
) -> Received:
    """Receive an event from another system, signed as Standard Webhooks specifies.

    The answer is 202 when the message is stored, and 200 with the same body when the same message is sent again. The
    maximum size is 256 KiB.
    """
    check_content_type(request, ("application/json",))
    body = await request.body()
    await uow.act_as(system("gateway").during(uow.actor.request_id))
    message, is_new = await use_cases.receive_message(uow, source, request.headers, body)
    if not is_new:
        response.status_code = 200
    return Received(id=message.id)


@sources.post(
    "",
    role=Role.COMMAND,
    raises=[HookSourceTaken, HookSourcesFull, PartyEverywhere, RegionOutside],
    status=201,
    location="/gateway/v1/hook-sources/{id}",
)
async def add_hook_source(new: NewHookSource, uow: Uow) -> HookSourceMade:
    """Register a system that sends messages to the gateway. Its secret is shown only once."""
    return await use_cases.add_hook_source(uow, new)


@sources.get("", role=Role.COMMAND | Role.SUPERVISOR | Role.AUDITOR)
async def list_hook_sources(uow: Uow, page: PageAsked) -> Listed[HookSource]:
    """List the systems that send messages to the gateway."""
    return await use_cases.list_hook_sources(uow, page)


@sources.get("/{source_id}", role=Role.COMMAND | Role.SUPERVISOR | Role.AUDITOR, raises=[NotFound])
async def get_hook_source(source_id: SourceId, uow: Uow) -> HookSource:
    """Show a system that sends messages to the gateway."""
    return await use_cases.get_hook_source(uow, source_id)


@sources.post("/{source_id}/rotate", role=Role.COMMAND, raises=[NotFound])
async def rotate_hook_source(source_id: SourceId, uow: Uow) -> HookSourceMade:
    """Create a new secret for a system, shown only once. The old one stays valid for a day."""
    return await use_cases.rotate_hook_source(uow, source_id)


@sources.delete("/{source_id}", role=Role.COMMAND, raises=[NotFound], status=204)
async def remove_hook_source(source_id: SourceId, uow: Uow) -> None:
    """Remove a system. Its messages are no longer accepted."""
    await use_cases.remove_hook_source(uow, source_id)


SENDERS = Role.DESK_120 | Role.HOSPITAL | Role.MUNICIPAL
READERS = Role.COMMAND | Role.COMMUNITY_OFFICER | Role.SUPERVISOR | Role.AUDITOR | SENDERS


@messages.get("", role=READERS)
async def list_messages(uow: Uow, page: PageAsked) -> Listed[MessageShown]:
    """List messages from other systems. Staff see the messages of their region, a sender sees its own."""
    return await use_cases.list_messages(uow, page)


@messages.get("/{kept_id}", role=READERS, raises=[NotFound])
async def get_message(message_id: MessageId, uow: Uow) -> MessageShown:
    """Show one message from another system."""
    return await use_cases.get_message(uow, message_id)
