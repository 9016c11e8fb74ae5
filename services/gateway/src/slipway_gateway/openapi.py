"""The public API as a document, made from the routes themselves.

``python -m slipway_gateway.openapi FILE`` writes it, with ``--check`` it only compares; a
difference is exit status 1.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, cast

from slipway_gateway.app import Parts, build_app
from slipway_gateway.sessions import SessionService


def document() -> str:
    # No route is called, so what would answer the calls need not be there.
    absent = cast("Any", None)
    app = build_app(
        Parts(
            accounts=absent,
            identities=absent,
            changes=absent,
            vault=absent,
            sessions=SessionService(absent, absent, sessions_host="sessions.example", secure=True),
            tasks=absent,
            uploads=absent,
            runners=absent,
            fronts=absent,
            cookie=absent,
            pages=absent,
            seal_certificate=b"",
            default_task_time_limit_seconds=3600,
        )
    )
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the public API as a document.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    content = document()
    if not options.check:
        options.file.write_text(content)
    elif not options.file.is_file() or options.file.read_text() != content:
        sys.exit(f"{options.file} is out of date, run `make schemas`")


if __name__ == "__main__":
    main()
