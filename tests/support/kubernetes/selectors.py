"""Selectors of labels and fields, as a list or a watch carries them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from support.kubernetes.answers import bad_request

Object = dict[str, Any]
Selects = Callable[[Object], bool]
Holds = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALS = re.compile(rf"(?P<key>{_KEY})\s*(?P<how>==?|!=)\s*(?P<value>{_VALUE})")
_AMONG = re.compile(rf"(?P<key>{_KEY})\s+(?P<how>in|notin)\s*\((?P<values>[^()]*)\)")
_EXISTS = re.compile(rf"(?P<how>!?)(?P<key>{_KEY})")
_BETWEEN_TERMS = re.compile(r",(?![^()]*\))")

_FIELDS = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "spec.nodeName": ("spec", "nodeName"),
    "status.phase": ("status", "phase"),
}


def label_selector(text: str) -> Selects:
    terms = [_term(part.strip()) for part in _BETWEEN_TERMS.split(text) if part.strip()]

    def selects(found: Object) -> bool:
        labels = found["metadata"].get("labels") or {}
        return all(holds(labels) for holds in terms)

    return selects


def field_selector(text: str) -> Selects:
    terms = [_field(part.strip()) for part in text.split(",") if part.strip()]
    return lambda found: all(selects(found) for selects in terms)


def _term(text: str) -> Holds:
    if match := _AMONG.fullmatch(text):
        key, values = match["key"], {value.strip() for value in match["values"].split(",")}
        if match["how"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: key not in labels or labels[key] not in values
    if match := _EQUALS.fullmatch(text):
        key, value = match["key"], match["value"]
        if match["how"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTS.fullmatch(text):
        key, wanted = match["key"], not match["how"]
        return lambda labels: (key in labels) is wanted
    raise bad_request(f"unable to parse requirement: {text}")


def _field(text: str) -> Selects:
    match = re.fullmatch(r"(?P<key>[A-Za-z.]+)(?P<how>==?|!=)(?P<value>.*)", text)
    if match is None or match["key"] not in _FIELDS:
        key = text if match is None else match["key"]
        raise bad_request(f"field label not supported: {key}")
    (part, name), value = _FIELDS[match["key"]], match["value"]
    wanted = match["how"] != "!="
    return lambda found: ((found.get(part) or {}).get(name, "") == value) is wanted
