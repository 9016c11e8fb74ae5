"""The app as its author writes it: services, their inputs, and how the page shows the result."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from slipway_open.inputs import field_errors, json_pointer, unknown_fields, unknown_inside
from slipway_open.page import Page
from slipway_open.problems import InputInvalidError
from slipway_open.run import Run
from slipway_open.text import infinite_at, sendable_json

Procedure = TypeVar("Procedure", bound=Callable[..., Any])


class Nothing(BaseModel):
    """The input of a service that takes none."""

    model_config = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    title: str
    description: str
    procedure: Callable[..., Any]
    inputs: type[BaseModel]
    result: TypeAdapter[Any]
    takes_inputs: bool

    @property
    def input_schema(self) -> dict[str, Any]:
        return self.inputs.model_json_schema()

    def validate(self, values: Mapping[str, Any]) -> BaseModel:
        """Raise ``InputInvalidError`` with one entry for each value that does not fit."""
        unknown = unknown_fields(self.inputs, values)
        try:
            inputs = self.inputs.model_validate(values)
        except ValidationError as error:
            named = {entry.path for entry in unknown}
            found = [entry for entry in field_errors(error) if entry.path not in named]
            raise InputInvalidError(*unknown, *found) from error
        unknown = unknown_inside(inputs, values)
        if unknown:
            raise InputInvalidError(*unknown)
        return inputs

    def call(self, run: Run, inputs: BaseModel) -> dict[str, Any]:
        """Run the procedure, and give its result as it will stand in JSON."""
        value = self.procedure(run, inputs) if self.takes_inputs else self.procedure(run)
        try:
            # Only the first of the two still knows what is no number: JSON makes it null.
            place = infinite_at(self.result.dump_python(value, by_alias=True))
            plain = self.result.dump_python(sendable_json(value), mode="json", by_alias=True)
        except PydanticSerializationError as error:
            raise TypeError(f"the result of {self.name!r} is no JSON: {error}") from None
        if not isinstance(plain, dict):
            raise TypeError(f"the result of {self.name!r} must be an object with named fields")
        if place is not None:
            raise ValueError(
                f"the result of {self.name!r} has no finite number at {json_pointer(place)}"
            )
        return dict(sendable_json(plain))


@dataclass(slots=True)
class App:
    """What ``entry`` of the manifest names."""

    title: str
    description: str = ""
    page: Page = dataclasses.field(default_factory=Page)
    services: dict[str, Service] = dataclasses.field(default_factory=dict, init=False)

    def service(
        self, name: str, *, title: str = "", description: str = ""
    ) -> Callable[[Procedure], Procedure]:
        """Offer the function below as a procedure: ``(run: Run, inputs: Model) -> Result``.

        The pydantic model of ``inputs`` makes the form of the page and checks what is sent;
        leave the parameter away if there is nothing to ask. The result is a model or a dict.
        """

        def register(procedure: Procedure) -> Procedure:
            if name in self.services:
                raise ValueError(f"the app has two services with the name {name!r}")
            inputs, result = _signature(procedure)
            self.services[name] = Service(
                name=name,
                title=title or name,
                description=description,
                procedure=procedure,
                inputs=inputs or Nothing,
                result=TypeAdapter(result),
                takes_inputs=inputs is not None,
            )
            return procedure

        return register


def _signature(procedure: Callable[..., Any]) -> tuple[type[BaseModel] | None, Any]:
    """Read the input model, or None, and the type of the result from the annotations."""
    name = getattr(procedure, "__name__", "procedure")
    hints = typing.get_type_hints(procedure)
    parameters = list(inspect.signature(procedure).parameters)
    if not 1 <= len(parameters) <= 2:
        raise TypeError(f"{name} takes (run) or (run, inputs)")
    result = hints.get("return", Any)
    if len(parameters) == 1:
        return None, result
    inputs = hints.get(parameters[1])
    if not (isinstance(inputs, type) and issubclass(inputs, BaseModel)):
        raise TypeError(f"the parameter {parameters[1]!r} of {name} needs a pydantic model as type")
    return inputs, result
