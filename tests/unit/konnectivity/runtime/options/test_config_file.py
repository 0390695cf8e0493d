"""Configuration file of the option --config."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from konnectivity.runtime import options
from konnectivity.runtime.options import (
    Options,
    UsageError,
    at_least,
    duration,
    one_of,
    option,
    port,
    positive,
    size,
)


@dataclass(frozen=True)
class LogOptions(Options):
    verbosity: int = option(4, name="v", aliases=("v",), help="Detail of the log.", metavar="level", group="Logging")
    log_file: str = option("", help="Ignored.", hidden=True)


@dataclass(frozen=True)
class DemoOptions(LogOptions):
    agent_port: int = option(8091, help="Port for agents.", check=port(1024, 49151), group="Agents")
    keepalive_time: float = option(duration("1h"), help="Ping interval.", check=at_least(duration("1s")))
    mode: str = option("grpc", help="Frontend protocol, a|b.", check=one_of("grpc", "http-connect"))
    server_id: str = option("", env="PROXY_SERVER_ID", help="Name of the server; random if empty.")
    qps: float = option(2.5, help="Rate.")
    sync_forever: bool = option(False, aliases=("s",), help="Keep trying.")
    profiling: bool = option(True, aliases=("p",), help="Profile.")
    alpn_proto: tuple[str, ...] = option((), help="Protocols.")
    ciphers: tuple[str, ...] = option(("A", "B"), help="Ciphers.")
    budget: int = option(size("64Mi"), help="Bytes kept.", check=positive)
    selector: str = option("", aliases=("label",), help="Label selector.")
    warn: bool = option(False, help="Nothing.", hidden=True, deprecated="it does nothing")

    def problems(self) -> list[str]:
        return ["--sync-forever and --mode=http-connect exclude each other"] * (
            self.sync_forever and self.mode == "http-connect"
        )


@dataclass(frozen=True)
class FiledOptions(DemoOptions):
    config: str = option("", help="File.")
    check_config: bool = option(False, help="Show.")
    channel: int = option(10, instead="--budget bounds it")


@pytest.fixture
def filed(tmp_path: Path) -> Callable[..., FiledOptions]:
    def read(text: str, *argv: str, environ: dict[str, str] | None = None) -> FiledOptions:
        (tmp_path / "config.yaml").write_text(text)
        return options.parse(FiledOptions, [*argv, f"--config={tmp_path}/config.yaml"], environ or {}, "demo")

    return read


def test_a_file_sets_what_flags_set(filed: Callable[..., FiledOptions]) -> None:
    found = filed("agent-port: 8132\nkeepalive_time: 30s\nsync-forever: true\nciphers: [A, 'b,c']\nbudget: 1Mi\n# x\n")
    assert (found.agent_port, found.keepalive_time, found.sync_forever) == (8132, 30.0, True)
    assert (found.ciphers, found.budget) == (("A", "b,c"), 1 << 20)
    assert (found.sources["agent_port"], found.sources["keepalive_time"]) == ("file, line 1", "file, line 2")


def test_a_flag_beats_the_environment_and_that_the_file(filed: Callable[..., FiledOptions]) -> None:
    text = "agent-port: 2000\nmode: http-connect\nserver-id: file\n"
    found = filed(
        text, "--agent-port=3000", environ={"PROXY_SERVER_ID": "environment", "KONNECTIVITY_AGENT_PORT": "4000"}
    )
    assert (found.agent_port, found.server_id, found.mode) == (3000, "environment", "http-connect")


def test_an_empty_file_changes_nothing(filed: Callable[..., FiledOptions]) -> None:
    assert filed("").agent_port == 8091
    assert filed("---\n# nothing\n").agent_port == 8091
    assert filed("agent-port:\nmode: ~\n") == filed("")
    assert filed("ciphers: []\n").ciphers == ()


def test_values_in_a_file_are_taken_as_they_are_written(filed: Callable[..., FiledOptions]) -> None:
    """YAML would read such values as octal, in base 60, as a date or as a boolean."""
    for text in ("012", "1:30", "2026-11-23", "1.10", "yes", "1_000", "'007'", '"\\u00fc"'):
        assert filed(f"server-id: {text}\n").server_id == text.strip("'").replace('"\\u00fc"', "\u00fc")
    assert filed("server-id: ''\n", environ={}).given("server_id")
    assert filed("ciphers: [1.10, yes]\n").ciphers == ("1.10", "yes")
    assert filed("ciphers: A,B\n").ciphers == ("A", "B")
    assert filed("alpn-proto:\n- '[]'\n- ''\n").alpn_proto == ("[]", "")


def test_a_file_may_use_another_name_of_an_option(filed: Callable[..., FiledOptions]) -> None:
    assert filed("label: b\nv: 7\n").selector == "b"
    assert filed("label: b\nv: 7\n").verbosity == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent-prot: 1", 'line 1: unknown key "agent-prot"; did you mean agent-port?'),
        ("qps: 1\nconfig: x", 'line 2: unknown key "config"'),
        ("check-config: true", 'line 1: unknown key "check-config"'),
        ("7: x", 'line 1: unknown key "7"'),
        ("[a]: x", 'line 1: unknown key ""'),
        ("mode: grpc\n# again\nmode: grpc", 'line 3: key "mode" is set in line 1 already'),
        ("agent-port: [1]", 'line 1: key "agent-port" wants one value (int)'),
        ("ciphers: [[A]]", 'line 1: key "ciphers" wants a list of values'),
        ("ciphers: {A: B}", 'line 1: key "ciphers" wants a list of values'),
        ("sync-forever: yes", 'invalid argument "yes" for "sync-forever" in line 1'),
        ("agent-port: 80", "must be a port"),
        ("agent-port: x", "not a whole number"),
        ("mode: {a: b}", "wants one value"),
        ("mode: grpc\na: b: c", "line 2 is not YAML: mapping values are not allowed here"),
        ("mode: 'grpc", "line 1 is not YAML: "),
        ("mode: grpc\n---\nmode: grpc", "line 2 is not YAML: "),
        ("- a", "must hold `name: value` lines"),
        ("\x00", "is not YAML"),
        ("[" * 1500, "is nested too deeply"),
        ("#" * (1 << 20) + "\n", "is larger than 1048576 bytes"),
    ],
)
def test_mistakes_in_a_file(filed: Callable[..., FiledOptions], text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        filed(text)
    (problem,) = caught.value.problems
    assert message in problem
    assert "config.yaml" in problem


def test_a_file_that_is_not_there() -> None:
    for path, why in (("/no/such/file", "No such file or directory"), ("/", "Is a directory"), ("\0", "null byte")):
        with pytest.raises(UsageError, match=why):
            options.parse(FiledOptions, [f"--config={path}", "--qps=1"], {}, "demo")


def test_a_file_can_be_named_by_the_environment_and_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("qps: 7\n")
    environ = {"KONNECTIVITY_CONFIG": f"{tmp_path}/config.yaml"}
    assert options.parse(FiledOptions, [], environ, "demo").qps == 7.0
    assert options.parse(FiledOptions, ["--config="], environ, "demo").qps == 2.5


def test_mistakes_in_a_file_are_told_with_all_others(filed: Callable[..., FiledOptions]) -> None:
    with pytest.raises(UsageError) as caught:
        filed("mode: x\nnonsense: 1\nqps: z\n", "--agent-port=1", "--other")
    found = "\n".join(caught.value.problems)
    for part in ("--other", '"nonsense"', '"z"', '"1"', '"x"'):
        assert part in found


def test_yaml_is_not_loaded_without_a_file() -> None:
    code = "import sys; from konnectivity.runtime import options; print('yaml' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_the_options_in_force_are_a_file_that_gives_them_again(filed: Callable[..., FiledOptions]) -> None:
    argv = ["--server-id=no", '--label="\\\n\udc80ü', "--ciphers=", '--alpn-proto=a,"b,c"', "--qps=1"]
    argv += ["--keepalive-time=90s"]
    first = options.parse(FiledOptions, argv, {"KONNECTIVITY_MODE": "http-connect"}, "demo")
    text = options.effective(first)
    assert "keepalive-time: 1m30s  # flag --keepalive-time\n" in text
    assert 'mode: "http-connect"  # environment KONNECTIVITY_MODE\n' in text
    assert "agent-port: 8091  # default\n" in text
    assert text.isascii()
    again = filed(text)
    assert replace(again, config="") == first
