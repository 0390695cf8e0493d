"""Writer of events, causes and sides in docs/secure/audit.schema.json (--check: fail on a difference)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from konnectivity_server.audit import audit_records

SCHEMA = Path(__file__).parent.parent / "docs" / "secure" / "audit.schema.json"


def main() -> int:
    written = SCHEMA.read_text()
    schema = json.loads(written)
    definitions = schema["$defs"]
    schema["properties"]["version"]["const"] = audit_records.VERSION
    schema["properties"]["event"]["enum"] = list(audit_records.EVENTS)
    definitions["refused"]["properties"]["cause"]["enum"] = list(audit_records.REFUSED_CAUSES)
    definitions["closed"]["properties"]["cause"]["enum"] = list(audit_records.CLOSED_CAUSES)
    definitions["closed"]["properties"]["side"]["enum"] = list(audit_records.SIDES)
    text = json.dumps(schema, indent=2) + "\n"
    if "--check" not in sys.argv:
        SCHEMA.write_text(text)
    elif written != text:
        print("docs/secure/audit.schema.json is stale: run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
