"""Routes of imports (R2, article 11)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import File, Form, Path, Request, UploadFile
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import UploadFile as StarletteUploadFile

from services.registry.imports import use_cases
from services.registry.imports.error_file import write_template, write_template_book
from services.registry.imports.messages import FILE_PROBLEMS
from services.registry.imports.result import IMPORT_JOB
from services.registry.imports.workbook_writer import MEDIA_TYPE as XLSX
from shared.audit.kinds import Kind
from shared.core.actors import Role
from shared.http.limits import accepts, check_accept, check_content_type
from shared.http.router import ContextDep, Router, Uow
from shared.jobs.queue import Job, JobEnded
from shared.problems import NotAcceptable, NotFound, PayloadTooLarge, language_of, openapi_headers
from shared.runtime.context import ServiceContext

IMPORTERS = Role.COMMAND | Role.COMMUNITY_OFFICER | Role.GRID_WORKER

router = Router(prefix="/registry/v1/imports", tags=["imports"])


FORMATS = ("text/csv", XLSX)


class Csv(StreamingResponse):
    """A streamed file of rows, CSV by default."""

    media_type = "text/csv; charset=utf-8"


class Template(Response):
    """The template file."""

    media_type = Csv.media_type


BOOK = {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}


FILE = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "example": {"file": "姓名,证件号码,网格编码\n张三,003582199003070019,350582005001\n", "dry_run": True}
            }
        }
    }
}
ERRORS = {
    "responses": {
        "200": {
            "content": {
                Csv.media_type: {
                    "example": "姓名,证件号码,网格编码,行号,错误\n"
                    "张三,003582199003070010,350582005001,2,证件号码：身份证号码校验码有误，请核对证件\n"
                },
                XLSX: BOOK,
            },
            "headers": openapi_headers(["Vary"]),
        }
    }
}

TEMPLATE = {
    "responses": {
        "200": {
            "content": {
                Csv.media_type: {"example": "姓名,证件号码,网格编码\n张三丰,003582199003070019,350582005001\n"},
                XLSX: BOOK,
            },
            "headers": openapi_headers(["Content-Language", "Vary"]),
        }
    }
}

ImportId = Annotated[UUID, Path(description="Id of an import.", examples=["018f3c1e-7a3b-7cc1-9a55-0b8f3f1e2d55"])]


@asynccontextmanager
async def keeping_file(context: ServiceContext, request: Request) -> AsyncIterator[None]:
    """Store the file before the transaction of the request begins."""
    check_content_type(request, ["multipart/form-data"])
    file = (await request.form()).get("file")
    if not isinstance(file, StarletteUploadFile):
        yield  # the endpoint reports the missing field
        return
    async with use_cases.keeping_file(context, file) as request.state.file:
        yield


@router.post(
    "",
    role=IMPORTERS,
    raises=[*FILE_PROBLEMS.values(), PayloadTooLarge],
    status=202,
    location="/registry/v1/imports/{id}",
    around=keeping_file,
    extra=FILE,
    response_model=IMPORT_JOB,
)
async def start_import(
    request: Request,
    uow: Uow,
    file: Annotated[UploadFile, File(description="CSV (UTF-8 or GB18030) or XLSX, up to 200 MiB and 300,000 rows.")],
    dry_run: Annotated[bool, Form(description="Check all rows and report the result, but change nothing.")] = False,
    as_of: Annotated[
        date | None,
        Form(description="The date of the file (文件日期). Data from a later day are not overwritten."),
    ] = None,
    overwrite_newer: Annotated[
        bool, Form(description="Overwrite data that were changed by hand or are newer than the file.")
    ] = False,
    rename: Annotated[
        bool, Form(description="Accept a name that differs from the one on record for this number.")
    ] = False,
) -> Job:
    """Import people from a file: new people are created, people on record are updated.

    Columns: 姓名, 证件类型, 证件号码, 手机号, 网格编码, 住址, 户号, 孕产妇, 半自理/无自理,
    出生日期, 性别, or the English names, as in `GET /registry/v1/imports/template`. Name, number and region are
    required. An empty cell changes nothing. The heading can be in any of the first ten rows. `result` counts the rows
    created, updated, unchanged, failed and ignored, which add up to all rows, and names the columns and sheets left
    out. For a person who lives elsewhere a transfer is requested, and the row counts as created. The same file sent
    twice changes nothing.

    A row fails, and its person stays unchanged, if the record has another name (unless `rename`), or if it would
    overwrite newer data (unless `overwrite_newer`). With `as_of`, data entered by hand or by a file after the start of
    that day are newer. Without it, all data entered by hand are newer. A dry run lists these rows too. At most ten
    imports a minute per person. Source: article 11.
    """
    return await use_cases.start_import(
        uow, request.state.file, dry_run=dry_run, rename=rename, overwrite_newer=overwrite_newer, as_of=as_of
    )


@router.get("/template", role=IMPORTERS, raises=[NotAcceptable], response_class=Template, extra=TEMPLATE)
async def get_import_template(request: Request) -> Template:
    """Download the import template, in Chinese or English by `Accept-Language`, with one example row.

    The format is CSV, or XLSX by `Accept`. In XLSX all columns are text, so that a spreadsheet keeps all digits of a
    number. Only name, number and region are required. The example person cannot exist; remove that row.
    """
    check_accept(request, FORMATS)
    language = language_of(request.headers.get("accept-language"))
    is_book = _wants_book(request, by_default=False)
    name = "people.xlsx" if is_book else "people.csv"
    content = write_template_book(language) if is_book else write_template(language)
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-language": language,
        "vary": "accept, accept-language",
    }
    return Template(content, media_type=XLSX if is_book else None, headers=headers)


@router.get("/{import_id}", role=IMPORTERS, raises=[NotFound], response_model=IMPORT_JOB)
async def get_import(import_id: ImportId, uow: Uow) -> Job:
    """Show the progress and the result of an import."""
    return await use_cases.get_import(uow, import_id)


@router.post("/{import_id}/cancel", role=IMPORTERS, raises=[NotFound, JobEnded], response_model=IMPORT_JOB)
async def cancel_import(import_id: ImportId, uow: Uow) -> Job:
    """Cancel an import after its current chunk. Rows already imported stay, and the file can be sent again."""
    return await use_cases.cancel_import(uow, import_id)


@router.get(
    "/{import_id}/errors",
    role=IMPORTERS,
    raises=[NotFound, NotAcceptable],
    audit=Kind.EXPORT,
    response_class=Csv,
    extra=ERRORS,
)
async def get_import_errors(import_id: ImportId, request: Request, uow: Uow, context: ContextDep) -> Csv:
    """Download the failed rows, to correct them and send them again. They are kept for 30 days.

    The format is that of the file sent, or CSV or XLSX by `Accept`. A row that repeats the person of an earlier row is
    marked 重复行, and is ignored when the file is sent again.
    """
    check_accept(request, FORMATS)
    language = language_of(request.headers.get("accept-language"))
    is_book = _wants_book(request, by_default=await use_cases.was_workbook(uow, import_id))
    lines = (use_cases.error_book if is_book else use_cases.error_lines)(uow, context, import_id, language)
    name = f"import-{import_id}-errors.{'xlsx' if is_book else 'csv'}"
    headers = {"content-disposition": f'attachment; filename="{name}"', "vary": "accept, accept-language"}
    return Csv(lines, media_type=XLSX if is_book else None, headers=headers)


def _wants_book(request: Request, *, by_default: bool) -> bool:
    """Return whether the response is XLSX. The caller's Accept decides if it accepts only one of the two formats."""
    accept = ",".join(request.headers.getlist("accept"))
    csv, book = (not accept or accepts(accept.encode("latin-1"), (kind,)) for kind in FORMATS)
    return book and (by_default or not csv)
