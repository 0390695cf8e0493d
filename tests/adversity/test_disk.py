"""Tests of a full disk: the disk of the log and audit log, and the disk on which a program starts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from fault_site import Dialler, metrics, until, until_echo

from konnectivity.client import connect
from support import targets
from support.targets import listening


@pytest.fixture
def small_disk(tmp_path):
    """Return a directory, and the command prefix of a program for which that directory is a disk of 256 KiB."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a mount namespace cannot be made here: root is needed")
    place = tmp_path / "disk"
    place.mkdir()
    script = f'mount -t tmpfs -o size=256k,nr_inodes=8 small {place} && exec "$@"'
    return place, ["unshare", "--mount", "sh", "-c", script, "sh"]


def fill(place: Path) -> Path:
    """Fill the disk and return the file that fills it."""
    ballast = place / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, bytes(4096)):
            pass
    except OSError:
        pass
    finally:
        os.close(fd)
    return ballast


async def test_the_logs_disk_is_full(site, outcome, small_disk):
    """No client waits for the log; lost lines are counted, and reported as soon as the disk has space."""
    place, within = small_disk
    flags = ("-v=2", "--logtostderr=false", f"--log-file={place}/log", f"--audit-log={place}/audit")
    server = site.start_package("konnectivity_server", site.server_arguments(*flags), within=within)
    inside = Path(f"/proc/{server.pid}/root{place}")
    await until(lambda: metrics(site.health_port), 10)
    await asyncio.to_thread(site.agent)
    async with listening(targets.echo) as address, connect(**site.frontend("http-connect", True)) as tunnel:
        await until_echo(tunnel, address, 5)
        ballast = fill(inside)
        async with Dialler(tunnel, address, 0.02) as dialler:
            outcome.detected(
                await until(
                    lambda: (
                        metrics(site.health_port)["server_log_lines_dropped_total"]
                        and metrics(site.health_port)["server_audit_lines_dropped_total"]
                    ),
                    10,
                )
            )
            await asyncio.sleep(1)
        outcome.failed(len(dialler.failed), len(dialler.attempts))
        assert max(each.took for each in dialler.attempts) < 2
        ballast.unlink()
        freed = time.monotonic()
        await until_echo(tunnel, address, 5)
        await until(lambda: '"Log lines were dropped" total=' in (inside / "log").read_text(), 5)
        await until(lambda: '"event": "dropped"' in (inside / "audit").read_text(), 5)
        outcome.recovered(time.monotonic() - freed)
        counted = metrics(site.health_port)
        lines = [line for line in (inside / "audit").read_text().splitlines() if line.startswith("{")]
        events = [json.loads(line)["event"] for line in lines if line.endswith("}")]
        untold = counted["server_audit_lines_total"] - counted["server_audit_lines_dropped_total"] - len(events)
        outcome.lost(max(0, int(untold)))
    await site.at_rest()


def test_a_program_starts_on_a_full_disk(site, outcome, small_disk):
    """Without a log the program works; if its socket cannot be made, it prints the error and exits with 1."""
    place, within = small_disk
    full = [*within, "sh", "-c", f'head -c 300000 /dev/zero > {place}/ballast; exec "$@"', "sh"]
    flags = ("--logtostderr=false", f"--log-file={place}/log")
    started = time.monotonic()
    site.start_package("konnectivity_server", site.server_arguments(*flags), within=full)
    agent = site.agent()
    assert agent.returncode is None
    outcome.recovered(time.monotonic() - started)
    inodes = [*within, "sh", "-c", f'for n in 1 2 3 4 5 6 7 8; do touch {place}/$n || true; done; exec "$@"', "sh"]
    second = site.start_package("konnectivity_server", site.server_arguments(f"--uds-name={place}/sock"), within=inodes)
    assert second.wait() == 1
    assert "Traceback" not in second.log
