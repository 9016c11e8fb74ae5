"""The form of a service: made from the JSON Schema of its input, read back into JSON values.

A form says less than a schema. What has no widget of its own is edited as JSON text, and
whatever comes back is judged by the service's own model, never here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl


class FieldKind(StrEnum):
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    TEXT = "text"
    LIST = "list"
    """Texts or numbers, separated by commas."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class FormField:
    name: str
    kind: FieldKind
    title: str
    description: str
    unit: str
    default: Any
    required: bool
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    max_length: int | None = None
    choices: tuple[Any, ...] = ()
    columns: tuple["FormField", ...] = ()
    numeric: bool = False
    """Of a list: its entries are numbers."""


_CELL = re.compile(r"(?P<table>[^\[\]]+)\[(?P<row>\d+)\]\.(?P<column>.+)")


def form_fields(schema: Mapping[str, Any]) -> list[FormField]:
    """Give one field for each property, in the order in which the author wrote them."""
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    return [
        _field(name, part, definitions=definitions, required=name in required)
        for name, part in schema.get("properties", {}).items()
    ]


def read_form(fields: Sequence[FormField], body: bytes) -> dict[str, Any]:
    """Read an urlencoded body; a text that is no number stays a text, for the model to refuse."""
    sent: dict[str, str] = {}
    tables: dict[str, dict[int, dict[str, str]]] = {}
    for key, text in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        cell = _CELL.fullmatch(key)
        if cell:
            rows = tables.setdefault(cell["table"], {})
            rows.setdefault(int(cell["row"]), {})[cell["column"]] = text
        else:
            sent[key] = text
    # What no field has asked for stays as well, for the model to refuse.
    values: dict[str, Any] = {**tables, **sent}
    for field in fields:
        values.pop(field.name, None)
        if field.kind is FieldKind.TABLE:
            rows = tables.get(field.name, {})
            values[field.name] = [
                row
                for _, texts in sorted(rows.items())
                if any(text.strip() for text in texts.values())
                for row in [_read_all(field.columns, texts)]
            ]
        else:
            values |= _read_all([field], sent)
    return values


def _read_all(fields: Sequence[FormField], texts: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields:
        text = texts.get(field.name, "").strip()
        if field.kind is FieldKind.BOOLEAN:
            values[field.name] = text not in {"", "false", "off"}
        elif text or (field.kind in {FieldKind.TEXT, FieldKind.LIST} and field.name in texts):
            values[field.name] = _value(field, text)
        # An empty box is a value that was left away: the model's default takes its place.
    return values


def _value(field: FormField, text: str) -> Any:
    match field.kind:
        case FieldKind.INTEGER | FieldKind.NUMBER:
            return _number(text)
        case FieldKind.LIST:
            entries = [entry.strip() for entry in text.split(",") if entry.strip()]
            return [_number(entry) for entry in entries] if field.numeric else entries
        case FieldKind.CHOICE:
            return next((choice for choice in field.choices if str(choice) == text), text)
        case FieldKind.JSON:
            try:
                return json.loads(text)
            except ValueError:
                return text
        case FieldKind.TEXT | FieldKind.BOOLEAN | FieldKind.TABLE:
            return text


def _number(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _field(
    name: str, part: Mapping[str, Any], *, definitions: Mapping[str, Any], required: bool
) -> FormField:
    schema = _resolved(part, definitions)
    choices = tuple(schema.get("enum", ())) or ((schema["const"],) if "const" in schema else ())
    kind = FieldKind.JSON
    columns: tuple[FormField, ...] = ()
    numeric = False
    if choices:
        kind = FieldKind.CHOICE
    elif schema.get("type") in {"integer", "number", "boolean"}:
        kind = FieldKind(schema["type"])
    elif schema.get("type") == "string":
        kind = FieldKind.TEXT
    elif schema.get("type") == "array":
        items = _resolved(schema.get("items", {}), definitions)
        if items.get("type") == "object" and "properties" in items:
            kind = FieldKind.TABLE
            needed = set(items.get("required", ()))
            columns = tuple(
                _field(key, cell, definitions=definitions, required=key in needed)
                for key, cell in items["properties"].items()
            )
        elif items.get("type") in {"string", "number", "integer"}:
            kind = FieldKind.LIST
            numeric = items["type"] != "string"
    return FormField(
        name=name,
        kind=kind,
        title=str(schema.get("title", name)),
        description=str(schema.get("description", "")),
        unit=str(schema.get("unit", "")),
        default=schema.get("default"),
        required=required,
        minimum=schema.get("minimum", schema.get("exclusiveMinimum")),
        maximum=schema.get("maximum", schema.get("exclusiveMaximum")),
        step=schema.get("step", schema.get("multipleOf")),
        max_length=schema.get("maxLength"),
        choices=choices,
        columns=columns,
        numeric=numeric,
    )


def _resolved(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Follow references, and see through "or null": an empty box says null well enough."""
    schema = dict(part)
    variants = [entry for entry in schema.pop("anyOf", ()) if entry.get("type") != "null"]
    if len(variants) == 1:
        schema = {**variants[0], **schema}
    for entry in schema.pop("allOf", ()):
        schema = {**entry, **schema}
    reference = schema.pop("$ref", None)
    if reference is not None:
        target = definitions.get(reference.removeprefix("#/$defs/"), {})
        schema = {**_resolved(target, definitions), **schema}
    return schema
