"""Every command of the tool, with every option set to a senseless value: one message, and never a traceback."""

from __future__ import annotations

import os
import re

import pytest

from konnectivity.tool.cli.main import main

COMMANDS = {  # arguments with which the command reads the values
    "pki": ["--directory=made", "--days=1"],
    "pki --check": ["--check"],
    "kubeconfig": ["--file=-", "--server=https://192.0.2.1", "--token-file=/none"],
    "kubeconfig --check": ["--check"],
    "egress-config": ["--uds=/run/x"],
    "egress-config validate": [],
    "dial": ["a.test:1", "--timeout=100ms"],
    "curl": ["http://a.test:1/", "--timeout=100ms"],
    "top": ["--once", "--admin=127.0.0.1:1", "--timeout=100ms"],
    "explain": [],
    "explain-route": ["--admin=127.0.0.1:1"],
    "doctor": ["--timeout=100ms"],
    "tenants": ["--admin=127.0.0.1:1"],
    "manifests gateway": [],
    "manifests tenant": ["a", "--domain=gateway.test", "--gateway-ca=rubbish.pem", "--kubeconfig=none"],
} | {
    f"manifests {what}": ["--server=192.0.2.1"]
    for what in (*("agent", "server", "service", "removal", "kamaji-patch", "server-config"),)
}
VALUES = [
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "99999",
        "9" * 5000,
        "1e999",
        "nan",
        "x" * 20_000,
        "\u0663",
        "a\nb",
        "a=b",
        "=",
        ",",
    ),
    *("unix:", "unix:@", "unix:" + "x" * 300, "a:b", "[::1", "[::1]:99999", "http://[", "https://a:b/", "10.0.0.0/33"),
    *(
        "\x1b[31m",
        os.fsdecode(b"\xff\xfe"),
        "none",
        "directory",
        "binary",
        "empty",
        "deep.yaml",
        "list.yaml",
        "cycle.yaml",
    ),
    *("rubbish.pem", "loop", "/proc/self/mem", "/dev/null", "/dev/zero"),
]
FEW = 6  # of the values are tried with an option that another command has shown to be the same
UGLY = re.compile(
    r"Traceback|Errno|NoneType|\[SSL:|_ssl\.c|Multiple exceptions|\b[A-Z][A-Za-z]+(Error|Exception)\b|<class"
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a directory with files of wrong content."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty").touch()
    (tmp_path / "deep.yaml").write_text("[" * 3000)
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "cycle.yaml").write_text("&a {kind: EgressSelectorConfiguration, apiVersion: x, a: *a}\n")
    block = "-----{} CERTIFICATE-----\n"
    (tmp_path / "rubbish.pem").write_text(block.format("BEGIN") + "AAAA\n" + block.format("END"))
    (tmp_path / "loop").symlink_to("loop")


@pytest.fixture(scope="module")
def known():
    """Return the options that were tried with all values, with their help."""
    return set()


def options_of(command, capsys):
    """Return the help of each option of a command, by its name: options of one name may differ between commands."""
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    _, _, listed = capsys.readouterr().out.partition("\n\n")
    entries = re.findall(r"^  (?:-\w .*?, )?(--[a-z][a-z-]+)(.*?)(?=^  -|^\S|\Z)", listed, re.MULTILINE | re.DOTALL)
    return {option: text for option, text in entries if option != "--help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_says_what_is_wrong(command, files, known, capsys):
    options = options_of(command, capsys)
    assert options, "every command has options"
    for number, (option, text) in enumerate([("", command), *sorted(options.items())]):
        values = VALUES[number % FEW :: len(VALUES) // FEW] if (option, text) in known else VALUES
        known.add((option, text))
        for value in values:
            given = [f"{option}={value}"] if option else [value]
            with pytest.raises(SystemExit) as ended:
                main([*command.split(), *COMMANDS[command], *given])
            said = "".join(capsys.readouterr())
            assert ended.value.code in (None, 0, 1, 2), (given, said[-500:])
            assert (found := UGLY.search(said)) is None, (given[0][:100], found and found[0], said[-500:])
            assert not ended.value.code or said, given


def test_pipes_and_devices_without_an_end_are_bounded(files, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["manifests", "all", "--server=192.0.2.1", "--ca=/dev/zero"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "konnectivity manifests: cannot read /dev/zero: is larger than 8388608 bytes\n"
