"""Writer of events, causes and sides in docs/secure/audit.schema.json (--check: fail on a difference)."""

from __future__ import annotations

import json
import sys

from generated_files import ROOT, write_or_check
from konnectivity_server.audit import audit_records

SCHEMA = ROOT / "docs" / "secure" / "audit.schema.json"


def schema() -> str:
    """Return the schema's text with the events, causes and sides of the code."""
    found = json.loads(SCHEMA.read_text())
    definitions = found["$defs"]
    found["properties"]["version"]["const"] = audit_records.VERSION
    found["properties"]["event"]["enum"] = list(audit_records.EVENTS)
    definitions["refused"]["properties"]["cause"]["enum"] = list(audit_records.REFUSED_CAUSES)
    definitions["closed"]["properties"]["cause"]["enum"] = list(audit_records.CLOSED_CAUSES)
    definitions["closed"]["properties"]["side"]["enum"] = list(audit_records.SIDES)
    return json.dumps(found, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check({SCHEMA: schema()}))
