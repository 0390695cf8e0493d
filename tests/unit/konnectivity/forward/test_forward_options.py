"""Tests of the options of `konnectivity forward`: what an open address, a TCP frontend and a certificate need."""

from __future__ import annotations

import pytest

from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.runtime.options import UsageError, parse
from konnectivity.runtime.options.help_text import effective

UNIX = "--server=unix:/run/a.sock"


def problems(*arguments):
    with pytest.raises(UsageError) as caught:
        parse(ForwardOptions, arguments, {}, "konnectivity forward")
    return caught.value.problems


@pytest.mark.parametrize("address", ["0.0.0.0", "", "::", "10.0.0.7", "localhost.example.com"])
def test_an_open_address_needs_passwords(address, tmp_path):
    (tmp_path / "users").write_text("a:b\n")
    assert "is not loopback" in problems(UNIX, f"--bind-address={address}")[0]
    for more in (
        f"--credentials-file={tmp_path}/users",
        "--insecure-allow-unauthenticated-clients",
        "--port=0 --uds-name=/run/b.sock",
    ):
        parse(ForwardOptions, [UNIX, f"--bind-address={address}", *more.split()], {}, "konnectivity forward")


def test_a_tcp_frontend_needs_a_ca(tmp_path):
    (tmp_path / "f").write_text("x")
    assert problems("--server=a:8090,unix:/run/a.sock") == ["--ca-cert is needed for a TCP frontend, which speaks TLS"]
    assert problems(UNIX, f"--cert={tmp_path}/f") == ["--cert and --key go together"]
    found = parse(ForwardOptions, ["--server=a:8090", "--server=b:8090", f"--ca-cert={tmp_path}/f"], {}, "forward")
    assert found.server == ("a:8090", "b:8090")
    assert found.uses_tls


def test_what_is_needed():
    assert problems() == ["--server is needed: the frontend of a proxy server"]
    assert problems(UNIX, "--port=0") == ["no listener: set --port or --uds-name"]
    assert "missing port" in problems("--server=a")[0]


def test_an_option_is_set_by_a_variable():
    environment = {"KONNECTIVITY_SERVER": "unix:/run/a.sock", "KONNECTIVITY_MAX_HEAD": "8Ki"}
    found = parse(ForwardOptions, [], environment, "konnectivity forward")
    assert (found.server, found.max_head) == (("unix:/run/a.sock",), 8192)
    assert 'server: ["unix:/run/a.sock"]  # environment KONNECTIVITY_SERVER' in effective(found)
