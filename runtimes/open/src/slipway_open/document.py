"""Writes the page as a document that already says everything: script only makes it live."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from slipway_open.app import Service
from slipway_open.engine import Ready
from slipway_open.forms import FieldKind, FormField, form_fields
from slipway_open.page import Column, Figure, Page, formatted, rows_at, value_at
from slipway_open.problems import Problem

WORDS: Mapping[str, str] = {
    "idle": "Ready",
    "running": "Running",
    "solving": "Solving",
    "completed": "Completed",
    "interrupted": "Stopped, best solution kept",
    "cancelled": "Cancelled",
    "failed": "Failed",
}
ACTIVE = frozenset({"running", "solving"})
NEW_ROWS = 1


def document(
    ready: Ready,
    *,
    services: Sequence[Service],
    state: Mapping[str, Any],
    chosen: Service | None,
    values: Mapping[str, Any],
    problem: Problem | None,
) -> str:
    page = ready.app.page
    value = state.get("value", {})
    active = state["state"] in ACTIVE
    errors = {error.path: error.message for error in (problem.errors or ())} if problem else {}
    shown_problem = problem.model_dump(mode="json") if problem else state.get("problem")
    template = Template(
        resources.files("slipway_open").joinpath("assets", "page.html").read_text("utf-8")
    )
    return template.substitute(
        title=escape(ready.app.title),
        description=escape(ready.app.description),
        # Without a link, a browser would ask for an icon of its own accord.
        icon_link="icon" if ready.manifest.icon else "data:,",
        icon='<img class="icon" src="icon" alt="" width="40" height="40">'
        if ready.manifest.icon
        else "",
        state=escape(state["state"]),
        refresh='<noscript><meta http-equiv="refresh" content="2"></noscript>' if active else "",
        status=escape(status_text(state)),
        forms="\n".join(
            service_form(
                service,
                page=page,
                first=index == 0,
                single=len(services) == 1,
                open_=service is chosen or (chosen is None and index == 0),
                values=values if service is chosen else {},
                errors=errors if service is chosen else {},
                active=active,
            )
            for index, service in enumerate(services)
        ),
        active="" if active else " hidden",
        problem=problem_box(shown_problem),
        figures=figure_tiles(page.figures, value),
        figures_hidden=" hidden" if is_undeclared(page, value) else "",
        plain=plain_result(value if is_undeclared(page, value) else {}),
        plot_hidden="" if was_searched(state) else " hidden",
        tables="\n".join(
            result_table(table.key, table.title, table.columns, value) for table in page.tables
        ),
        map_hidden="" if page.map else " hidden",
        map_title=escape(page.map.title if page.map else ""),
        log=escape("\n".join(state.get("log", ()))),
    )


def status_text(state: Mapping[str, Any]) -> str:
    """Write the line that the script keeps up to date."""
    parts = [WORDS[state["state"]]]
    if "elapsed" in state:
        parts.append(f"{state['elapsed']:.1f} s")
    gap = state.get("progress", {}).get("gap")
    if gap is not None and state["state"] not in {"failed", "cancelled"}:
        parts.append(f"gap {gap * 100:.2f} %")
    return " · ".join(parts)


def problem_box(problem: Mapping[str, Any] | None) -> str:
    if not problem:
        return '<div id="problem" class="problem" role="alert" hidden></div>'
    detail = problem.get("detail")
    return (
        '<div id="problem" class="problem" role="alert">'
        f"<strong>{escape(problem['title'])}</strong>"
        + (f"<p>{escape(detail)}</p>" if detail else "")
        + "</div>"
    )


def figure_tiles(figures: Sequence[Figure], value: Mapping[str, Any]) -> str:
    return "".join(
        f'<div class="figure"><dt>{escape(figure.title)}</dt>'
        f'<dd data-key="{escape(figure.key)}">{escape(_shown(value, figure))}</dd></div>'
        for figure in figures
    )


def is_undeclared(page: Page, value: Mapping[str, Any]) -> bool:
    """Say whether there is a result and no view of the page shows anything of it."""
    keys = [figure.key for figure in page.figures] + [table.key for table in page.tables]
    keys += [layer.key for layer in page.map.points] if page.map else []
    return bool(value) and all(value_at(value, key) is None for key in keys)


def was_searched(state: Mapping[str, Any]) -> bool:
    """Say whether a solver has come up with a solution or a bound."""
    return any(
        objective is not None or bound is not None
        for _, objective, bound, _ in state.get("points", ())
    )


def plain_result(value: Mapping[str, Any]) -> str:
    """Write a result that the page has no views for, name by name."""
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(_plain_text(part))}</dd></div>"
        for name, part in value.items()
    )


def _plain_text(part: Any) -> str:
    match part:
        case dict() | list():
            return json.dumps(part, ensure_ascii=False, separators=(",", ":"))
        case float() if part.is_integer() and abs(part) < 1e15:
            return str(int(part))
        case int() | float() if not isinstance(part, bool):
            return str(part)
        case _:
            return formatted(part)


def result_table(key: str, title: str, columns: Sequence[Column], value: Mapping[str, Any]) -> str:
    rows = rows_at(value, key)
    head = "".join(f"<th{_numeric(rows, column)}>{escape(column.title)}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_numeric(rows, column)}>{escape(_shown(row, column))}</td>" for column in columns
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<section class="card table" data-table="{escape(key)}"{"" if rows else " hidden"}>'
        f"<h2>{escape(title)}</h2>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div></section>"
    )


def service_form(
    service: Service,
    *,
    page: Page,
    first: bool,
    single: bool,
    open_: bool,
    values: Mapping[str, Any],
    errors: Mapping[str, str],
    active: bool,
) -> str:
    name = escape(service.name)
    fields = "".join(
        form_row(field, values=values, errors=errors) for field in form_fields(service.input_schema)
    )
    text = f'<p class="hint">{escape(service.description)}</p>' if service.description else ""
    identity = "run" if first else f"run-{name}"
    form = (
        f'<form class="inputs" method="post" action="run?service={name}" data-service="{name}">'
        f"{text}{fields}"
        f'<button id="{identity}" class="primary" type="submit"{" disabled" if active else ""}>'
        f"{escape(page.button if first else service.title)}</button></form>"
    )
    if single:
        return f"<h2>{escape(service.title)}</h2>{form}"
    return (
        f'<details class="service" name="service"{" open" if open_ else ""}>'
        f"<summary>{escape(service.title)}</summary>{form}</details>"
    )


def form_row(field: FormField, *, values: Mapping[str, Any], errors: Mapping[str, str]) -> str:
    message = next(
        (text for path, text in errors.items() if path.split("/")[1:2] == [field.name]), ""
    )
    value = values.get(field.name, field.default)
    title = escape(field.title)
    unit = f'<span class="unit">{escape(field.unit)}</span>' if field.unit else ""
    hint = f'<small class="hint">{escape(field.description)}</small>' if field.description else ""
    error = f'<small class="error" data-error-for="{escape(field.name)}">{escape(message)}</small>'
    identity = f"field-{escape(field.name)}"
    if field.kind is FieldKind.TABLE:
        return (
            f'<fieldset class="row"><legend>{title}</legend>{_editable_table(field, value)}'
            f"{hint}{error}</fieldset>"
        )
    control = _control(field, name=field.name, identity=identity, value=value)
    if field.kind is FieldKind.BOOLEAN:
        return (
            f'<div class="row"><label class="check" for="{identity}">{control}'
            f"<span>{title}</span></label>{hint}{error}</div>"
        )
    return (
        f'<div class="row"><label for="{identity}">{title}</label>'
        f'<span class="control">{control}{unit}</span>{hint}{error}</div>'
    )


def _control(field: FormField, *, name: str, identity: str, value: Any) -> str:
    common = f'id="{escape(identity)}" name="{escape(name)}"'
    match field.kind:
        case FieldKind.INTEGER | FieldKind.NUMBER:
            limits = {
                "min": field.minimum,
                "max": field.maximum,
                # Without a step of its own, a form would take any fraction for a mistake.
                "step": field.step or (1 if field.kind is FieldKind.INTEGER else "any"),
            }
            attributes = "".join(
                f' {key}="{limit}"' for key, limit in limits.items() if limit is not None
            )
            needed = " required" if field.required else ""
            return (
                f'<input type="number" inputmode="decimal" {common} value="{_plain(value)}"'
                f"{attributes}{needed}>"
            )
        case FieldKind.BOOLEAN:
            return f'<input type="checkbox" {common} value="true"{" checked" if value else ""}>'
        case FieldKind.CHOICE:
            options = "".join(
                f'<option value="{escape(str(choice))}"{" selected" if choice == value else ""}>'
                f"{escape(str(choice))}</option>"
                for choice in field.choices
            )
            return f"<select {common}>{options}</select>"
        case FieldKind.LIST:
            text = ", ".join(str(entry) for entry in value) if isinstance(value, list) else value
            return f'<input type="text" {common} value="{_plain(text)}">'
        case FieldKind.TEXT:
            length = f' maxlength="{field.max_length}"' if field.max_length else ""
            needed = " required" if field.required else ""
            return f'<input type="text" {common} value="{_plain(value)}"{length}{needed}>'
        case FieldKind.JSON | FieldKind.TABLE:
            text = "" if value is None else json.dumps(value, ensure_ascii=False, indent=1)
            return f'<textarea {common} rows="5" spellcheck="false">{escape(text)}</textarea>'


def _editable_table(field: FormField, value: Any) -> str:
    """Write the rows there are and some empty ones; an empty row is no row."""
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    head = "".join(f"<th>{escape(column.title)}</th>" for column in field.columns)
    body = "".join(
        "<tr>"
        + "".join(
            "<td>" + _cell(field, column, number=number, value=row.get(column.name)) + "</td>"
            for column in field.columns
        )
        + "</tr>"
        for number, row in enumerate([*rows, *({} for _ in range(NEW_ROWS))])
    )
    return (
        f'<div class="scroll"><table class="editable" data-field="{escape(field.name)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(field: FormField, column: FormField, *, number: int, value: Any) -> str:
    name = f"{field.name}[{number}].{column.name}"
    control = _control(column, name=name, identity=name, value=value)
    # A row that is left empty must not stop the form.
    return (
        control.replace(" required", "")
        .replace("<select ", f'<select aria-label="{escape(column.title)}" ')
        .replace("<input ", f'<input aria-label="{escape(column.title)}" ')
    )


def _shown(value: Any, column: Figure | Column) -> str:
    return formatted(
        value_at(value, column.key),
        unit=column.unit,
        decimals=column.decimals,
        percent=column.percent,
    )


def _numeric(rows: Sequence[Mapping[str, Any]], column: Column) -> str:
    is_number = any(isinstance(value_at(row, column.key), int | float) for row in rows)
    return ' class="number"' if is_number else ""


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else escape(str(value))
