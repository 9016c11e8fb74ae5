"""The input of a service: how its author describes a value, and what is said of a wrong one."""

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel, ValidationError

from slipway_open.problems import FieldError


def field(
    default: Any = ...,
    title: str | None = None,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    step: float | None = None,
    unit: str | None = None,
    description: str | None = None,
) -> Any:
    """Describe one value of the input, as its form shows it; without default it is required.

    Anything else that pydantic's ``Field`` can do works as well: this is that function, with
    the unit and the step that a form needs. The step does not limit what is valid.
    """
    extra: dict[str, Any] = {}
    if step is not None:
        extra["step"] = step
    if unit is not None:
        extra["unit"] = unit
    return Field(
        default,
        title=title,
        ge=minimum,
        le=maximum,
        description=description,
        json_schema_extra=extra or None,
    )


def field_errors(error: ValidationError) -> list[FieldError]:
    """Translate what pydantic found into JSON pointers and messages for a person."""
    return [
        FieldError(path=json_pointer(entry["loc"]), message=_sentence(entry["msg"]))
        for entry in error.errors(include_url=False, include_input=False)
    ]


def unknown_fields(
    model: type[BaseModel], values: Mapping[str, Any], at: tuple[int | str, ...] = ()
) -> list[FieldError]:
    """Name what the model would silently ignore, unless its author said what is to become of it."""
    if issubclass(model, RootModel) or model.model_config.get("extra", "forbid") != "forbid":
        return []
    known = _fields_by_name(model)
    names = f"Known are: {', '.join(known)}." if known else "There are none."
    return [
        FieldError(path=json_pointer((*at, name)), message=f"There is no such field. {names}")
        for name in values
        if name not in known
    ]


def unknown_inside(read: Any, sent: Any, at: tuple[int | str, ...] = ()) -> list[FieldError]:
    """Name the same at every depth, by what the values that were sent have been read as."""
    errors: list[FieldError] = []
    parts: list[tuple[int | str, Any, Any]] = []
    match read, sent:
        case BaseModel(), dict():
            errors = unknown_fields(type(read), sent, at)
            fields = _fields_by_name(type(read))
            parts = [
                (name, getattr(read, fields[name]), part)
                for name, part in sent.items()
                if name in fields
            ]
        case dict(), dict():
            parts = [(name, read[name], part) for name, part in sent.items() if name in read]
        case ((list() | tuple()), list()):
            parts = [(n, *pair) for n, pair in enumerate(zip(read, sent, strict=False))]
        case _:
            return []
    return errors + [
        error for name, part, given in parts for error in unknown_inside(part, given, (*at, name))
    ]


def _fields_by_name(model: type[BaseModel]) -> dict[str, str]:
    """Give the attribute for each name that an input may use for it."""
    config = model.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    fields: dict[str, str] = {}
    for attribute, info in model.model_fields.items():
        alias = info.validation_alias
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            name = choice.path[0] if isinstance(choice, AliasPath) else choice
            fields[str(name or attribute)] = attribute
        if by_name:
            fields[attribute] = attribute
    return fields


def json_pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].upper() + message[1:]
