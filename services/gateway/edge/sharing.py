"""Moves error responses that several operations share into components of the document. Pure functions."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from shared.http.openapi_schemas import camel

Document = dict[str, Any]

ERRORS = ("4", "5")


def share_errors(document: Document) -> None:
    """Move every error response that occurs more than once into `components/responses`, and refer to it."""
    counts = Counter(_text(answer) for _, _, answer in _errors(document))
    names: dict[str, str] = {}
    shared: dict[str, Any] = document["components"].setdefault("responses", {})
    for responses, status, answer in list(_errors(document)):
        text = _text(answer)
        if counts[text] == 1:
            continue
        if text not in names:
            names[text] = _free(_name(status, answer), shared)
            shared[names[text]] = answer
        responses[status] = {"$ref": f"#/components/responses/{names[text]}"}


def _errors(document: Document) -> Iterator[tuple[Document, str, Document]]:
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation.get("responses", {}).items():
                if status.startswith(ERRORS) and "$ref" not in answer:
                    yield operation["responses"], status, answer


def _text(answer: Document) -> str:
    return json.dumps(answer, sort_keys=True)


def _name(status: str, answer: Document) -> str:
    """Return a name made of the problem codes, such as `InvalidInputOrKeyReused`."""
    codes = [code for media in answer.get("content", {}).values() for code in media.get("examples", ())]
    return "Or".join(camel(code) for code in sorted(set(codes))) or f"Status{status}"


def _free(name: str, taken: Document) -> str:
    """Return the name, with a number if it is taken."""
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}{number}"
    return free
