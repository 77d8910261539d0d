"""The reference pages: one page of operations for each tag, generated from the merged OpenAPI document."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from services.gateway.edge.reference.frame import Entry, Frame
from services.gateway.edge.reference.guides import Guide
from services.gateway.edge.reference.schemas import Schemas, pretty, text
from services.gateway.edge.tags import TAGS
from shared.problems import MEDIA_TYPE, LocalizedText

Document = Mapping[str, Any]
Operation = tuple[str, str, Mapping[str, Any]]
"""Method, path and operation object."""

METHODS = ("get", "post", "put", "patch", "delete")

T = LocalizedText
TITLE = T(zh="防线接口文档", en="Fangxian documentation")
LEAD = T(
    zh="本系统的全部接口，按主题分组；页面由本系统生成，断网时也可查阅。接口说明为英文，问题代码附中文说明。",
    en="All operations of this installation by subject, and the guides. The pages work without a network.",
)
READ_FIRST = T(zh="请先阅读", en="Read first")
PARAMETERS = T(zh="参数", en="Parameters")
BODY = T(zh="请求体", en="Request body")
ANSWERS = T(zh="成功响应", en="Responses")
ERRORS = T(zh="可能的错误", en="Errors")
STATUS = T(zh="状态码", en="Status")
CODES = T(zh="问题代码", en="Codes")
EXAMPLE = T(zh="示例", en="Example")
TRY = T(zh="命令行示例", en="Command line example")
REQUIRED = T(zh="必填", en="required")
PROBLEMS = T(zh="问题代码", en="Problem codes")
PROBLEMS_LEAD = T(
    zh="每个错误响应都带有 code，请在程序中据此判断。下面列出每个问题的含义和处理办法。",
    en="Every error response has a `code` for programs. This page says what each code means and what to do.",
)


def path_of(tag: str) -> str:
    """Return the URL path of the page of a tag."""
    return f"/docs/api/{re.sub(r'[^a-z0-9]+', '-', tag.lower())}"


def by_tag(document: Document) -> Mapping[str, Sequence[Operation]]:
    """Return the operations of each tag, in the order of the document."""
    operations: dict[str, list[Operation]] = defaultdict(list)
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                for tag in item[method]["tags"]:
                    operations[tag].append((method, path, item[method]))
    return {tag["name"]: operations[tag["name"]] for tag in document["tags"]}


def tag_entries(document: Document) -> Sequence[Entry]:
    """Return the menu entries of the tags."""
    return [Entry(path_of(tag["name"]), tag["name"]) for tag in document["tags"]]


def index(document: Document, guides: Sequence[Guide], frame: Frame) -> bytes:
    """Render the first page: the guides, and one line for each operation."""
    return frame.page("/docs", TITLE.render(frame.language), _index(document, guides, frame))


def tag_page(document: Document, tag: str, frame: Frame) -> bytes:
    """Render the page of one tag with its operations."""
    schemas = Schemas(document["components"]["schemas"], frame.language)
    body = [f"<h1>{escape(tag)}</h1>", f"<p>{_about(document, tag, frame)}</p>"]
    for operation in by_tag(document)[tag]:
        body += _operation(operation, document, schemas, frame)
    return frame.page(path_of(tag), tag, body)


def problems_page(problems: Mapping[str, Mapping[str, Any]], frame: Frame) -> bytes:
    """Render the page of all problem codes, in one language."""
    return frame.page("/docs/problems", PROBLEMS.render(frame.language), _problems(problems, frame))


def _problems(problems: Mapping[str, Mapping[str, Any]], frame: Frame) -> Iterator[str]:
    yield f"<h1>{frame.render(PROBLEMS)}</h1>{text(PROBLEMS_LEAD.render(frame.language))}"
    for code, problem in problems.items():
        title = f"{problem['status']} · {escape(problem['title'])}"
        yield f'<h3 id="{escape(code)}"><code>{escape(code)}</code> {title}</h3>'
        yield f"<p>{escape(problem['what'])} {escape(problem['fix'])}</p>"


def _index(document: Document, guides: Sequence[Guide], frame: Frame) -> Iterator[str]:
    yield f"<h1>{frame.render(TITLE)}</h1><p>{frame.render(LEAD)}</p>"
    if guides:
        first = "".join(f'<li><a href="{guide.path}">{escape(guide.title)}</a></li>' for guide in guides[:4])
        yield f"<h2>{frame.render(READ_FIRST)}</h2><ul>{first}</ul>"
    for tag, operations in by_tag(document).items():
        yield f'<h2><a href="{path_of(tag)}">{escape(tag)}</a></h2><p>{_about(document, tag, frame)}</p>'
        yield '<ul class="list">'
        for method, path, operation in operations:
            to = f"{path_of(tag)}#{operation['operationId']}"
            yield (
                f'<li>{_verb(method)}<a href="{to}">{escape(operation["summary"])}</a>'
                f' <span class="kind">{escape(path)}</span></li>'
            )
        yield "</ul>"


def _about(document: Document, tag: str, frame: Frame) -> str:
    if tag in TAGS:
        return frame.render(TAGS[tag])
    return escape(next((one.get("description", "") for one in document["tags"] if one["name"] == tag), ""))


def _verb(method: str) -> str:
    return f'<span class="verb {method}">{method.upper()}</span>'


def _operation(operation: Operation, document: Document, schemas: Schemas, frame: Frame) -> Iterator[str]:
    method, path, spec = operation
    yield f'<section class="operation" id="{spec["operationId"]}">'
    yield f"<h2>{escape(spec['summary'])}"
    yield f'<span class="address">{_verb(method)}<code>{escape(path)}</code></span></h2>'
    yield text(spec["description"])
    if spec.get("parameters"):
        yield f"<h3>{frame.render(PARAMETERS)}</h3>"
        yield from _parameters(spec["parameters"], schemas, frame)
    for kind, media in spec.get("requestBody", {}).get("content", {}).items():
        yield f'<h3>{frame.render(BODY)} <span class="kind">{escape(kind)}</span></h3>'
        yield from _media(media, schemas, frame)
    answers = {status: _resolved(answer, document) for status, answer in spec["responses"].items()}
    yield f"<h3>{frame.render(ANSWERS)}</h3>"
    for status, answer in answers.items():
        if status.startswith("2") or status == "default":
            yield from _answer(status, answer, schemas, frame)
    yield f"<details><summary>{frame.render(ERRORS)}</summary>"
    yield from _errors(answers, frame)
    yield f"</details><details><summary>{frame.render(TRY)}</summary>{pretty(_curl(operation, schemas))}</details>"
    yield "</section>"


def _resolved(answer: Mapping[str, Any], document: Document) -> Mapping[str, Any]:
    if "$ref" in answer:
        target: Mapping[str, Any] = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[-1]]
        return target
    return answer


def _parameters(parameters: Sequence[Mapping[str, Any]], schemas: Schemas, frame: Frame) -> Iterator[str]:
    yield '<ul class="fields">'
    for parameter in parameters:
        must = f' <span class="must">{frame.render(REQUIRED)}</span>' if parameter.get("required") else ""
        kind = f"{parameter['in']} · {schemas.kind(parameter['schema'])}"
        yield f'<li><code>{escape(parameter["name"])}</code> <span class="kind">{escape(kind)}</span>{must}'
        yield f"{text(parameter.get('description', ''))}{schemas.about(parameter['schema'])}</li>"
    yield "</ul>"


def _media(media: Mapping[str, Any], schemas: Schemas, frame: Frame) -> Iterator[str]:
    schema = media.get("schema", {})
    yield f'<p class="kind">{escape(schemas.kind(schema))}</p>'
    yield from schemas.fields(schema)
    example = media.get("example", schemas.example(schema))
    if example is not None:
        yield f"<details><summary>{frame.render(EXAMPLE)}</summary>{pretty(example)}</details>"


def _answer(status: str, answer: Mapping[str, Any], schemas: Schemas, frame: Frame) -> Iterator[str]:
    yield f"<h4>{escape(status)} · {escape(answer.get('description', ''))}</h4>"
    for name, header in answer.get("headers", {}).items():
        yield f'<p><code>{escape(name)}</code> <span class="kind">{escape(header.get("description", ""))}</span></p>'
    for media in answer.get("content", {}).values():
        yield from _media(media, replace(schemas, marks_required=False), frame)


def _errors(answers: Mapping[str, Mapping[str, Any]], frame: Frame) -> Iterator[str]:
    yield f"<table><tr><th>{frame.render(STATUS)}</th><th>{frame.render(CODES)}</th></tr>"
    for status, answer in answers.items():
        codes = answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ())
        if status.startswith(("4", "5")):
            links = " ".join(
                f'<a href="/docs/problems#{escape(code)}"><code>{escape(code)}</code></a>' for code in codes
            )
            yield f"<tr><td>{escape(status)}</td><td>{links or escape(answer.get('description', ''))}</td></tr>"
    yield "</table>"


def _curl(operation: Operation, schemas: Schemas) -> str:
    """Return a shell command that calls the operation with the examples of the document."""
    method, path, spec = operation
    lines = [f'curl -X {method.upper()} "$FANGXIAN{_filled(path, spec, schemas)}"']
    if spec.get("security") != []:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    needed = [one for one in spec.get("parameters", ()) if one["in"] == "header" and one.get("required")]
    lines += [f"-H '{one['name']}: {_shown(one, schemas)}'" for one in needed]
    content = spec.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        media = content["application/json"]
        example = media.get("example", schemas.example(media.get("schema", {})))
        body = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{body}'"]
    elif "multipart/form-data" in content:
        lines.append("-F file=@people.csv")
    return " \\\n  ".join(lines)


def _filled(path: str, spec: Mapping[str, Any], schemas: Schemas) -> str:
    query = []
    for parameter in spec.get("parameters", ()):
        shown = _shown(parameter, schemas)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", shown)
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append(f"{parameter['name']}={shown}")
    return f"{path}?{'&'.join(query)}" if query else path


def _shown(parameter: Mapping[str, Any], schemas: Schemas) -> str:
    schema = schemas.resolved(parameter["schema"])
    examples = schema.get("examples") or parameter.get("examples") or schema.get("enum") or ["…"]
    return str(next(iter(examples)) if not isinstance(examples, dict) else "…")
