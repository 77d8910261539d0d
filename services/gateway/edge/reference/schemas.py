"""Renders schemas as lists of fields. Inner schemas can be opened in place."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from services.gateway.edge.reference.guides import renderer
from shared.problems import Language, LocalizedText

Schema = Mapping[str, Any]

DEEPEST = 6
"""Maximum depth, because a schema can contain itself."""

T = LocalizedText
REQUIRED = T(zh="必填", en="required")
FIELDS = T(zh="字段", en="Fields")
ONE_OF = T(zh="以下之一，由 {field} 区分", en="One of these, depending on {field}")
LIST_OF = T(zh="{kind} 的列表", en="list of {kind}")
OR_NULL = T(zh="{kind}，可为空", en="{kind} or null")
MAP_OF = T(zh="名称到 {kind} 的映射", en="map from names to {kind}")
OBJECT = T(zh="对象", en="object")

LIMITS = {
    "minimum": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMinimum": "> {}",
    "exclusiveMaximum": "< {}",
    "minLength": "≥ {} chars",
    "maxLength": "≤ {} chars",
    "minItems": "≥ {} items",
    "maxItems": "≤ {} items",
    "pattern": "{}",
}


def text(words: str) -> str:
    """Render a text of the document as Markdown."""
    return str(renderer().render(words))


def pretty(value: Any) -> str:
    """Render an example, indented."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return f"<pre><code>{escape(shown)}</code></pre>"


@dataclass(frozen=True)
class Schemas:
    """The schemas of one document, in one language."""

    components: Mapping[str, Schema]
    language: Language
    marks_required: bool = True
    """True for request bodies. In responses the mark would have no meaning."""

    def render(self, what: LocalizedText, **values: object) -> str:
        """Return a text in the language of the page, not escaped."""
        return what.render(self.language, values)

    def resolved(self, schema: Schema) -> Schema:
        """Follow the references of a schema."""
        while "$ref" in schema:
            schema = self.components[schema["$ref"].rsplit("/", 1)[-1]]
        return schema

    def example(self, schema: Schema) -> Any:
        """Return the example of a schema, or None."""
        schema = self.resolved(schema)
        if schema.get("examples"):
            return schema["examples"][0]
        return self.example(schema["oneOf"][0]) if schema.get("oneOf") else None

    def kind(self, schema: Schema) -> str:
        """Describe the type of a value in a few words."""
        if "$ref" in schema:
            return str(schema["$ref"].rsplit("/", 1)[-1])
        choices = [one for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())) if one.get("type") != "null"]
        if choices:
            several = " | ".join(self.kind(one) for one in choices)
            has_null = {"type": "null"} in schema.get("anyOf", ())
            return self.render(OR_NULL, kind=several) if has_null else several
        if "const" in schema:
            return json.dumps(schema["const"], ensure_ascii=False)
        if schema.get("type") == "array":
            return self.render(LIST_OF, kind=self.kind(schema.get("items", {})))
        if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
            return self.render(MAP_OF, kind=self.kind(schema["additionalProperties"]))
        return str(schema.get("format") or schema.get("type") or self.render(OBJECT))

    def fields(self, schema: Schema, depth: int = 0) -> Iterator[str]:
        """Render the fields of an object with their types. Nothing for a schema without fields."""
        schema = self.resolved(schema)
        if schema.get("oneOf"):
            field = schema.get("discriminator", {}).get("propertyName", "")
            yield f"<p>{escape(self.render(ONE_OF, field=field))}</p>"
            for one in schema["oneOf"]:
                yield self._opened(self.kind(one), one, depth)
            return
        properties = schema.get("properties", {})
        if not properties:
            return
        yield '<ul class="fields">'
        for name, part in properties.items():
            is_required = self.marks_required and name in schema.get("required", ())
            must = f' <span class="must">{escape(self.render(REQUIRED))}</span>' if is_required else ""
            yield f'<li><code>{escape(name)}</code> <span class="kind">{escape(self.kind(part))}</span>{must}'
            yield self.about(part)
            inner = self._inner(part)
            if inner is not None and depth < DEEPEST:
                yield self._opened(self.render(FIELDS), inner, depth)
            yield "</li>"
        yield "</ul>"

    def about(self, schema: Schema) -> str:
        """Render the description, the choices and the limits of a value."""
        words = text(schema["description"]) if schema.get("description") else ""
        parts = [schema, *schema.get("anyOf", ()), schema.get("items", {})]
        choices = [str(one) for part in parts for one in self.resolved(part).get("enum", ())]
        if choices:
            words += f"<p>{' '.join(f'<code>{escape(one)}</code>' for one in choices)}</p>"
        limits = [form.format(part[key]) for part in parts for key, form in LIMITS.items() if key in part]
        if limits:
            words += f'<p class="kind">{escape(" · ".join(limits))}</p>'
        return words

    def _opened(self, words: str, schema: Schema, depth: int) -> str:
        inside = "".join(self.fields(schema, depth + 1))
        return f"<details><summary>{escape(words)}</summary>{inside}</details>"

    def _inner(self, schema: Schema) -> Schema | None:
        """Return the object in a value: the value itself, one of its choices, or the items of a list or map."""
        for one in (schema, *schema.get("anyOf", ())):
            target = self.resolved(one)
            if target.get("properties") or target.get("oneOf"):
                return target
            for key in ("items", "additionalProperties"):
                if isinstance(target.get(key), dict):
                    return self._inner(target[key])
        return None
