"""Sources of options: the pflag dialect, the environment, the kinds of values, and the texts that a person sees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass

import pytest

from konnectivity.runtime import options
from konnectivity.runtime.options import (
    DURATION,
    HelpRequested,
    Options,
    UsageError,
    at_least,
    declared,
    duration,
    one_of,
    option,
    port,
    positive,
    size,
)
from konnectivity.runtime.options.command_line import VersionRequested

NOT_WHOLE = "not a whole number; write digits only, without leading zeros"
NOT_SIZE = "not a size; write bytes, or a number with Ki, Mi or Gi, as in 64Ki"


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


def parse(*argv: str, environ: Mapping[str, str] | None = None) -> DemoOptions:
    return options.parse(DemoOptions, argv, environ or {}, "demo")


def problems_of(*argv: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse(*argv, environ=environ)
    return caught.value.problems


# --- the command line ---


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        ("", "agent_port", 8091),
        ("--agent-port=8132", "agent_port", 8132),
        ("--agent-port 8132", "agent_port", 8132),
        ("--agent-port=0x2000", "agent_port", 8192),
        ("--agent-port=1111 --agent-port 2222", "agent_port", 2222),
        ("-v=8", "verbosity", 8),
        ("-v 8", "verbosity", 8),
        ("-v8", "verbosity", 8),
        ("--v=8", "verbosity", 8),
        ("--v 8", "verbosity", 8),
        ("-v -1", "verbosity", -1),
        ("--sync-forever", "sync_forever", True),
        ("--sync-forever=true", "sync_forever", True),
        ("--sync-forever=T", "sync_forever", True),
        ("--sync-forever --sync-forever=false", "sync_forever", False),
        ("--sync-forever false", "sync_forever", True),
        ("--sync-forever --agent-port 8132", "agent_port", 8132),
        ("-s", "sync_forever", True),
        ("-p=false", "profiling", False),
        ("-sv9", "verbosity", 9),
        ("-sv9", "sync_forever", True),
        ("-sp=0", "profiling", False),
        ("--server-id=", "server_id", ""),
        ("--server-id=a=b", "server_id", "a=b"),
        ("--server-id --mode", "server_id", "--mode"),
        ("--server-id -h", "server_id", "-h"),
        ("--selector=a --label=b", "selector", "b"),
        ("--qps 75", "qps", 75.0),
        ("--qps=1e2", "qps", 100.0),
        ("--keepalive-time=1m30s", "keepalive_time", 90.0),
        ("--budget=1024", "budget", 1024),
        ("--budget=2Gi", "budget", 2 << 30),
        ("--alpn-proto=a,b", "alpn_proto", ("a", "b")),
        ("--alpn-proto=a --alpn-proto b,c", "alpn_proto", ("a", "b", "c")),
        ("--alpn-proto=[]", "alpn_proto", ()),
        ("--alpn-proto=", "alpn_proto", ()),
        ('--alpn-proto="a,b",c', "alpn_proto", ("a,b", "c")),
        ("--ciphers=C", "ciphers", ("C",)),
        ("--ciphers=[]", "ciphers", ()),
        ("extra - words --agent-port=8132", "agent_port", 8132),
        ("-- --agent-port=8132", "agent_port", 8091),
    ],
)
def test_argument_forms(argv: str, name: str, value: object) -> None:
    result = getattr(parse(*argv.split()), name)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ("--nonsense", "unknown flag: --nonsense"),
        ("--nonsense=1 --mode=grpc", "unknown flag: --nonsense"),
        ("--agent_port=8132", "unknown flag: --agent_port; did you mean --agent-port?"),
        ("--log-fil=x", "unknown flag: --log-fil"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-sx", "unknown shorthand flag: 'x' in -sx"),
        ("--=x", "bad flag syntax: --=x"),
        ("---mode=x", "bad flag syntax: ---mode=x"),
        ("--agent-port", "flag needs an argument: --agent-port"),
        ("-v", "flag needs an argument: -v"),
        (
            "--agent-port=abc",
            f'invalid argument "abc" for "--agent-port" flag: {NOT_WHOLE}',
        ),
        (
            "-v=",
            f'invalid argument "" for "-v" flag: {NOT_WHOLE}',
        ),
        ("--agent-port=80", 'invalid argument "80" for "--agent-port" flag: must be a port between 1024 and 49151'),
        ("--sync-forever=maybe", 'invalid argument "maybe" for "--sync-forever" flag: must be true or false'),
        ("--qps=1e999", 'invalid argument "1e999" for "--qps" flag: too large'),
        ("--qps=nan", 'invalid argument "nan" for "--qps" flag: not a number; write it as in 5 or 2.5'),
        ("--keepalive-time=10ms", 'invalid argument "10ms" for "--keepalive-time" flag: must be 1s or more'),
        ("--mode=x", 'invalid argument "x" for "--mode" flag: must be one of: grpc, http-connect'),
        ("--budget=0", 'invalid argument "0" for "--budget" flag: must be greater than 0'),
        (
            "--budget=1KB",
            f'invalid argument "1KB" for "--budget" flag: {NOT_SIZE}',
        ),
        (
            "--agent-port=x --agent-port=8132",
            f'invalid argument "x" for "--agent-port" flag: {NOT_WHOLE}',
        ),
    ],
)
def test_mistakes(argv: str, problem: str) -> None:
    assert problems_of(*argv.split()) == [problem]


def test_unbalanced_quotes_in_a_list_are_a_mistake() -> None:
    (problem,) = problems_of('--alpn-proto="a')
    assert problem.startswith('invalid argument ""a" for "--alpn-proto" flag: not a list of values')


@pytest.mark.parametrize("text", ["010", " 1", "1 ", "1_000", "٣", "1.0", "--1", "0x", ""])
def test_not_whole_numbers(text: str) -> None:
    assert len(problems_of(f"-v={text}")) == 1


def test_all_mistakes_are_reported_at_once() -> None:
    argv = ["--nonsense", "--qps=x", "--agent-port=1", "--mode=http-connect", "--sync-forever"]
    found = problems_of(*argv)
    assert [problem.split(":")[0] for problem in found] == [
        "unknown flag",
        'invalid argument "x" for "--qps" flag',
        'invalid argument "1" for "--agent-port" flag',
        "--sync-forever and --mode=http-connect exclude each other",
    ]


def test_usage_error_reads_as_a_sentence() -> None:
    assert str(UsageError(["a", "b"], "demo")) == "demo: a; b"
    assert str(UsageError(["a"])) == "a"


@pytest.mark.parametrize("argv", ["-h", "--help", "--nonsense --help", "-sh", "--agent-port=abc -h"])
def test_help_is_requested(argv: str) -> None:
    with pytest.raises(HelpRequested):
        parse(*argv.split())


@pytest.mark.parametrize("argv", ["--version", "--nonsense --version", "--version -h"])
def test_version_is_requested(argv: str) -> None:
    with pytest.raises(VersionRequested):
        parse(*argv.split())


def test_arguments_of_a_launcher_that_renders_every_option() -> None:
    argv = [f"--{each.flag}={each.kind.write(each.default)}" for each in declared(DemoOptions)]
    assert "--alpn-proto=[]" in argv
    assert parse(*argv) == DemoOptions()


# --- the file ---


@dataclass(frozen=True)
class FiledOptions(DemoOptions):
    config: str = option("", help="File.")
    check_config: bool = option(False, help="Show.")
    channel: int = option(10, instead="--budget bounds it")


def test_what_does_nothing_says_what_does_it() -> None:
    used = options.parse(FiledOptions, ["--channel=5"], {}, "demo")
    assert options.notices(used) == ["--channel has no effect here: --budget bounds it"]
    assert options.notices(options.parse(FiledOptions, [], {}, "demo")) == []
    assert "no effect here: --budget bounds it" in " ".join(options.usage(FiledOptions, "demo", "Demo.").split())


# --- the environment ---


@pytest.mark.parametrize(
    ("environ", "argv", "value"),
    [
        ({"PROXY_SERVER_ID": "one"}, "", "one"),
        ({"KONNECTIVITY_SERVER_ID": "two"}, "", "two"),
        ({"PROXY_SERVER_ID": "one", "KONNECTIVITY_SERVER_ID": "two"}, "", "one"),
        ({"PROXY_SERVER_ID": "", "KONNECTIVITY_SERVER_ID": "two"}, "", "two"),
        ({"PROXY_SERVER_ID": ""}, "", ""),
        ({"PROXY_SERVER_ID": "one"}, "--server-id=flag", "flag"),
        ({"PROXY_SERVER_ID": "one"}, "--server-id=", ""),
    ],
)
def test_environment(environ: dict[str, str], argv: str, value: str) -> None:
    assert parse(*argv.split(), environ=environ).server_id == value


def test_environment_reads_every_kind() -> None:
    environ = {"SYNC_FOREVER": "true", "ALPN_PROTO": "a,b", "KEEPALIVE_TIME": "30s", "V": "7", "BUDGET": "1Ki"}
    result = parse(environ={f"KONNECTIVITY_{name}": value for name, value in environ.items()})
    assert (result.sync_forever, result.alpn_proto, result.keepalive_time) == (True, ("a", "b"), 30.0)
    assert (result.verbosity, result.budget) == (7, 1024)


def test_a_flag_replaces_the_list_of_the_environment() -> None:
    assert parse("--alpn-proto=b", environ={"KONNECTIVITY_ALPN_PROTO": "a"}).alpn_proto == ("b",)


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    (unreadable,) = problems_of(environ={"KONNECTIVITY_AGENT_PORT": "abc"})
    assert unreadable.startswith('invalid argument "abc" for environment variable "KONNECTIVITY_AGENT_PORT": not a')
    (refused,) = problems_of(environ={"KONNECTIVITY_AGENT_PORT": "80"})
    assert refused.startswith('invalid argument "80" for environment variable "KONNECTIVITY_AGENT_PORT": must be')


def test_variables_of_a_kubernetes_service_are_not_options() -> None:
    """The kubelet sets this in every pod of a namespace with a Service named konnectivity-agent."""
    assert parse(environ={"KONNECTIVITY_AGENT_PORT": "tcp://10.96.0.7:8091"}) == DemoOptions()


def test_given() -> None:
    result = parse("--agent-port=8091", "-v=3", environ={"KONNECTIVITY_MODE": "grpc"})
    names = ("agent_port", "verbosity", "mode", "server_id")
    assert [result.given(name) for name in names] == [True, True, True, False]
    assert result == DemoOptions(verbosity=3)
    with pytest.raises(AttributeError):
        result.given("agent-prot")


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        DemoOptions().mode = "x"  # type: ignore[misc]


# --- kinds ---


def test_the_kind_can_be_named_and_the_default_is_plain() -> None:
    @dataclass(frozen=True)
    class Named(Options):
        wait: float = option(90.0, kind=DURATION, help="Wait.")
        grace: float = option(duration("2s"), help="Grace.")

    assert options.effective(Named()) == "wait: 1m30s  # default\ngrace: 2s  # default"
    assert type(Named().grace) is float


# --- checks ---


def test_the_default_is_checked_too() -> None:
    @dataclass(frozen=True)
    class Strict(Options):
        ca_cert: str = option("", help="CA.", check=lambda path: None if path else "must not be empty")

    with pytest.raises(UsageError) as caught:
        options.parse(Strict, [], {}, "demo")
    assert caught.value.problems == ['invalid argument "" for "--ca-cert" flag: must not be empty']


# --- what a person sees ---


def test_usage() -> None:
    text = options.usage(DemoOptions, "demo", "A demonstration.")
    assert text.startswith("A demonstration.\n\nUsage:\n  demo [flags]\n\nAgents:\n      --agent-port int  ")
    assert text.index("Agents:") < text.index("Logging:") < text.index("  -v, --v level")
    assert "Port for agents. (default 8091)" in text
    assert 'Frontend protocol, a|b. (default "grpc")' in text
    assert "(environment PROXY_SERVER_ID)" in " ".join(text.split())
    assert re.search(r"-s, --sync-forever +Keep trying\.\n", text)
    assert re.search(r"--ciphers strings +Ciphers\. \(default A,B\)", text)
    assert "--warn" not in text
    assert "--log-file" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_usage_of_a_long_flag_begins_on_the_next_line() -> None:
    @dataclass(frozen=True)
    class Long(Options):
        a_flag_with_a_very_long_name_indeed: str = option("", help="word " * 30)

    lines = options.usage(Long, "demo", "").splitlines()
    at = lines.index("      --a-flag-with-a-very-long-name-indeed string")
    assert lines[at + 1].startswith(" " * 40 + "word")
    assert lines[at + 2].startswith(" " * 40 + "word")


def test_an_old_name_still_works_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True)
    class Renamed(Options):
        selector: str = option("", help="Labels.", deprecated_aliases=("label",))

    assert options.load(Renamed, "demo", "", ["--label=a=b"]).selector == "a=b"
    assert capsys.readouterr() == ("", "Flag --label has been deprecated, use --selector\n")
    assert options.load(Renamed, "demo", "", ["--label=a", "--selector=b"]).selector == "b"
    assert capsys.readouterr() == ("", "")
    assert "--label" not in options.usage(Renamed, "demo", "")
    assert "| `--selector` | string |  | Labels. Deprecated name: `--label`. |" in options.markdown(Renamed, "demo")
    with pytest.raises(UsageError, match=r"unknown flag: --labe$"):
        options.parse(Renamed, ["--labe=x"], {}, "demo")


def test_markdown() -> None:
    text = options.markdown(DemoOptions, "demo")
    rows = [line for line in text.splitlines() if line.startswith("| `--")]
    assert len(rows) == len(options.declared(DemoOptions)) == 14
    assert "| `--agent-port` | int | `8091` | Port for agents. |" in rows
    assert "| `--v`, `-v` | level | `4` | Detail of the log. |" in rows
    assert "| `--mode` | string | `grpc` | Frontend protocol, a\\|b. |" in rows
    assert "| `--warn` | bool | `false` | Nothing. Deprecated: it does nothing. |" in rows
    assert any("Environment: `PROXY_SERVER_ID`." in row for row in rows)


def test_load_returns_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.load(DemoOptions, "demo", "A demonstration.", ["--warn", "-v8"]).verbosity == 8
    assert capsys.readouterr() == ("", "Flag --warn has been deprecated, it does nothing\n")


def test_load_reads_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["demo", "--qps=1"])
    monkeypatch.setenv("KONNECTIVITY_SERVER_ID", "one")
    result = options.load(DemoOptions, "demo", "")
    assert (result.qps, result.server_id) == (1.0, "one")


def test_load_prints_help_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.load(DemoOptions, "demo", "A demonstration.", ["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr() == (options.usage(DemoOptions, "demo", "A demonstration."), "")


def test_load_prints_mistakes_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.load(DemoOptions, "demo", "A demonstration.", ["--nonsense", "--mode=x"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == lines[-2] == "Error: unknown flag: --nonsense"
    assert lines[1] == lines[-1] == 'Error: invalid argument "x" for "--mode" flag: must be one of: grpc, http-connect'
    assert "Usage:" in lines
