"""CloudEvents 1.0 on Kafka, binary mode: attributes in ``ce_*`` headers, the event as body."""

from slipway_common.contracts.base import Event
from slipway_common.contracts.registry import topic_of

Headers = list[tuple[str, bytes]]

ACCOUNT_HEADER = "slipway_account"
"""On a tombstone, which has no body that could say whose it is."""


def headers_of(event: Event) -> Headers:
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": str(event.event_id),
        "ce_source": f"/slipway/{topic_of(event).producer}",
        "ce_type": event.type,
        "ce_subject": str(event.subject),
        "ce_time": event.occurred_at.isoformat(),
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in attributes.items()]


def body_of(event: Event) -> bytes:
    return event.model_dump_json().encode()
