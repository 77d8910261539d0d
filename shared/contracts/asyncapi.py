"""The AsyncAPI document of all published resources, built from their classes with their JSON Schemas."""

from typing import Any

from pydantic.json_schema import models_json_schema

from shared.contracts import gateway, observation, registry, testing
from shared.contracts.resource import RESOURCES, Resource, owner_of

DECLARED_IN = (gateway, observation, registry, testing)
ATTRIBUTES = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "description": "The same for every delivery of the event: type/subject/version."},
    "source": {
        "type": "string",
        "format": "uri",
        "description": "The installation and its service: a URL under the installation's own URL, or a urn:uuid.",
    },
    "type": {"type": "string"},
    "datacontenttype": {"const": "application/json"},
    "dataschema": {"type": "string", "format": "uri", "description": "URL of the JSON Schema of `data`."},
    "subject": {"type": "string", "format": "uuid"},
    "time": {"type": "string", "format": "date-time"},
    "version": {
        "type": "integer",
        "description": "Grows with each change. Ignore versions older than yours.",
    },
    "region": {"type": "string", "description": "The region of the event, or where the person lives."},
    "change": {"type": "string", "description": "What happened, for information only: some changes are not delivered."},
}

SIGNATURE = {
    "type": "httpApiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "Standard Webhooks: HMAC-SHA-256 with the endpoint's secret over id, timestamp and body.",
}
RECEIVER = {
    "host": "{host}",
    "protocol": "https",
    "description": "Your endpoint, as you registered it with `POST /gateway/v1/webhooks`.",
    "variables": {"host": {"default": "receiver.example", "description": "Host and path of your endpoint."}},
    "security": [{"$ref": "#/components/securitySchemes/signature"}],
}
HEADERS = {
    "webhook-id": {"type": "string", "description": "The event's `id`."},
    "webhook-timestamp": {"type": "string", "description": "Time of this attempt, in Unix seconds."},
    "webhook-signature": {
        "type": "string",
        "description": "`v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`. Spaces separate several.",
    },
}
"""The headers of a webhook, as in Standard Webhooks."""


def resources() -> list[type[Resource]]:
    """Return all public resources, ordered by name."""
    modules = {module.__name__ for module in DECLARED_IN}
    return [resource for _, resource in sorted(RESOURCES.items()) if resource.__module__ in modules]


def asyncapi() -> dict[str, Any]:
    """Build the AsyncAPI 3.0 document of the feeds and webhooks."""
    published = resources()
    _, definitions = models_json_schema(
        [(resource, "serialization") for resource in published], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fangxian events",
            "version": "1",
            "description": (
                "Public resources as CloudEvents 1.0. An event contains the state of one resource after a change. A "
                "reader keeps the newest version of each subject. Webhooks deliver signed events (Standard Webhooks)."
            ),
            "contact": {"name": "Fangxian 防线"},
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [
                {"name": owner, "description": f"Resources of the service {owner}."}
                for owner in sorted({owner_of(resource.type) for resource in published})
            ],
        },
        "servers": {"receiver": RECEIVER},
        "defaultContentType": "application/cloudevents+json",
        "channels": {resource.type: _channel(resource) for resource in published},
        "operations": {
            f"send-{resource.type}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{resource.type}"},
                "summary": _sentence(resource),
                "description": (
                    f"Sent at least once after every change of a `{resource.type}`, to each webhook that subscribes to "
                    "it. Answer 2xx within the timeout. Otherwise the event is sent again, at growing intervals."
                ),
                "tags": [{"name": owner_of(resource.type)}],
            }
            for resource in published
        },
        "components": {
            "messages": {resource.type: _message(resource) for resource in published},
            "schemas": definitions["$defs"],
            "securitySchemes": {"signature": SIGNATURE},
        },
    }


def schema_of(resource: type[Resource], address: str) -> dict[str, Any]:
    """Build the JSON Schema of one resource, with the URL under which it is served."""
    schema = resource.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": address, **schema}


def _channel(resource: type[Resource]) -> dict[str, Any]:
    return {
        "address": resource.type,
        "summary": f"Owned by {owner_of(resource.type)}.",
        "messages": {"event": {"$ref": f"#/components/messages/{resource.type}"}},
    }


def _message(resource: type[Resource]) -> dict[str, Any]:
    data = {"$ref": f"#/components/schemas/{resource.__name__}"}
    return {
        "name": resource.type,
        "summary": _sentence(resource),
        "contentType": "application/cloudevents+json",
        "headers": {"type": "object", "required": [*HEADERS], "properties": HEADERS},
        "payload": {
            "type": "object",
            "required": [*ATTRIBUTES, "data"],
            "properties": {**ATTRIBUTES, "type": {"const": resource.type}, "data": data},
        },
    }


def _sentence(resource: type[Resource]) -> str:
    return (resource.__doc__ or "").strip().split("\n", 1)[0]
