"""The input of a service: how its author describes a value, and what is said of a wrong one."""

from typing import Any

from pydantic import Field, ValidationError

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


def json_pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].upper() + message[1:]
