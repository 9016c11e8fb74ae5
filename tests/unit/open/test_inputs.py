"""The input of a service: validation with JSON pointers, and the form in both directions."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway_open import App, Run, field
from slipway_open.forms import FieldKind, form_fields, read_form
from slipway_open.inputs import json_pointer
from slipway_open.problems import InputInvalidError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Row(BaseModel):
    name: str
    weight: float = field(minimum=0)


class Inputs(BaseModel):
    count: int = field(3, "Count", minimum=1, maximum=9, unit="pieces")
    rate: float | None = None
    quick: bool = False
    colour: Colour = Colour.RED
    names: list[str] = ["a"]
    numbers: list[int] = []
    rows: Annotated[list[Row], Field(max_length=3)] = []
    note: str = field("", step=None)
    extra: dict[str, int] = {}

    @model_validator(mode="after")
    def not_nine_blue_ones(self) -> "Inputs":
        if self.count == 9 and self.colour is Colour.BLUE:
            raise ValueError("nine blue ones are too many")
        return self


def service_of():
    app = App(title="Test")

    @app.service("count")
    def count(run: Run, inputs: Inputs) -> dict[str, int]:
        return {"count": inputs.count}

    return app.services["count"]


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        pytest.param({"count": 0}, ["/count"], id="too small"),
        pytest.param({"count": "many"}, ["/count"], id="no number"),
        pytest.param({"colour": "green"}, ["/colour"], id="not one of the choices"),
        pytest.param(
            {"rows": [{"name": "a", "weight": 1}, {"weight": -1}]},
            ["/rows/1/name", "/rows/1/weight"],
            id="inside a table",
        ),
        pytest.param({"count": 9, "colour": "blue"}, [""], id="the input as a whole"),
    ],
)
def test_wrong_value_is_named_by_its_pointer(values, paths) -> None:
    with pytest.raises(InputInvalidError) as caught:
        service_of().validate(values)

    assert [error.path for error in caught.value.errors] == paths
    assert all(error.message for error in caught.value.errors)


def test_pointer_escapes_its_separators() -> None:
    assert json_pointer(("a/b", 0, "c~d")) == "/a~1b/0/c~0d"


def test_each_property_gets_the_widget_that_suits_it() -> None:
    fields = {entry.name: entry for entry in form_fields(service_of().input_schema)}

    assert {name: entry.kind for name, entry in fields.items()} == {
        "count": FieldKind.INTEGER,
        "rate": FieldKind.NUMBER,
        "quick": FieldKind.BOOLEAN,
        "colour": FieldKind.CHOICE,
        "names": FieldKind.LIST,
        "numbers": FieldKind.LIST,
        "rows": FieldKind.TABLE,
        "note": FieldKind.TEXT,
        "extra": FieldKind.JSON,
    }
    count = fields["count"]
    assert (count.minimum, count.maximum, count.unit, count.default) == (1, 9, "pieces", 3)
    assert fields["colour"].choices == ("red", "blue")
    assert [column.name for column in fields["rows"].columns] == ["name", "weight"]


def test_form_comes_back_as_the_values_that_were_meant() -> None:
    body = urlencode(
        {
            "count": "4",
            "rate": "",
            "quick": "true",
            "colour": "blue",
            "names": "x, y ,",
            "numbers": "1,2",
            "rows[0].name": "first",
            "rows[0].weight": "1.5",
            "rows[1].name": "",
            "rows[1].weight": "",
            "rows[10].name": "last",
            "rows[10].weight": "2",
            "note": "",
            "extra": '{"k": 1}',
        }
    ).encode()

    values = read_form(form_fields(service_of().input_schema), body)

    assert values == {
        "count": 4,
        "quick": True,
        "colour": "blue",
        "names": ["x", "y"],
        "numbers": [1, 2],
        "rows": [{"name": "first", "weight": 1.5}, {"name": "last", "weight": 2}],
        "note": "",
        "extra": {"k": 1},
    }
    service_of().validate(values)


def test_box_that_is_not_ticked_says_no() -> None:
    assert read_form(form_fields(service_of().input_schema), b"")["quick"] is False


def test_text_in_a_number_box_is_left_for_the_model_to_refuse() -> None:
    values = read_form(form_fields(service_of().input_schema), b"count=many&extra={")

    with pytest.raises(InputInvalidError) as caught:
        service_of().validate(values)
    assert [error.path for error in caught.value.errors] == ["/count", "/extra"]


def test_procedure_without_a_model_for_its_input_is_refused() -> None:
    app = App(title="Test")

    with pytest.raises(TypeError, match="needs a pydantic model"):

        @app.service("bad")
        def bad(run: Run, inputs: dict) -> dict:
            return inputs


def test_two_services_of_one_name_are_refused() -> None:
    app = App(title="Test")
    app.service("same")(lambda _run: {})

    with pytest.raises(ValueError, match="two services"):
        app.service("same")(lambda _run: {})


@pytest.mark.parametrize(
    ("values", "path", "known"),
    [
        ({"cuont": 3}, "/cuont", "Known are: count, rate,"),
        ({"cuont": 3, "count": 4}, "/cuont", "Known are: count, rate,"),
        ({"rows": [{"name": "a", "weight": 1, "wieght": 2}]}, "/rows/0/wieght", "name, weight."),
    ],
    ids=["alone", "beside a right one", "inside a table"],
)
def test_unknown_field_is_refused_by_name(values, path, known) -> None:
    with pytest.raises(InputInvalidError) as caught:
        service_of().validate(values)

    assert [error.path for error in caught.value.errors] == [path]
    assert known in caught.value.errors[0].message


def test_unknown_field_is_named_beside_the_missing_one() -> None:
    class Named(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: str = Field(alias="called")

    app = App(title="Test")

    @app.service("greet")
    def greet(run: Run, inputs: Named) -> dict[str, str]:
        return {}

    with pytest.raises(InputInvalidError) as caught:
        app.services["greet"].validate({"nam": "Ada"})

    assert [(error.path, error.message) for error in caught.value.errors] == [
        ("/nam", "There is no such field. Known are: called."),
        ("/called", "Field required"),
    ]


@pytest.mark.parametrize("extra", ["ignore", "allow"])
def test_author_may_let_unknown_fields_pass(extra) -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra=extra)

    app = App(title="Test")

    @app.service("take")
    def take(run: Run, inputs: Open) -> dict[str, str]:
        return {}

    assert app.services["take"].validate({"anything": 1}) is not None
