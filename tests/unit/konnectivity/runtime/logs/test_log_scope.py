"""Scope of log lines: the lines of a tenant bear its name, and the flood of one tenant costs no other a line."""

from __future__ import annotations

import contextvars
import io

from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_scope import LINES_PER_MESSAGE, LogScope, scope

log = logs.get("scoped")
peer_log = logs.get_peer_log("scoped")


def within(tenant: LogScope, write) -> None:
    """Call a function in a context of a tenant, as a connection of the tenant does."""

    def run() -> None:
        scope.set(tenant)
        write()

    contextvars.copy_context().run(run)


def test_a_line_has_the_name_of_the_tenant_whose_connection_writes_it(written: io.StringIO) -> None:
    within(LogScope("blue"), lambda: log.info("Agent connected", agent="a"))
    log.info("Server started")
    first, second = written.getvalue().splitlines()
    assert 'tenant="blue" agent="a"' in first
    assert "tenant" not in second


def test_a_tenant_that_floods_the_log_costs_no_other_tenant_a_line(written: io.StringIO) -> None:
    loud, quiet = LogScope("loud"), LogScope("quiet")
    before = logs.left_out()
    for number in range(10 * LINES_PER_MESSAGE):
        within(loud, lambda peer=number: peer_log.warning(f"10.0.0.{peer}", "Dial refused", reason="policy"))
    within(quiet, lambda: peer_log.warning("10.0.0.1", "Dial refused", reason="policy"))
    lines = written.getvalue().splitlines()
    assert sum('tenant="loud"' in line for line in lines) == LINES_PER_MESSAGE
    assert sum('tenant="quiet"' in line for line in lines) == 1
    assert logs.left_out() - before == 9 * LINES_PER_MESSAGE
