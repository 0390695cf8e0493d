"""Wrong words on the command line of the tool: the error suggests the word that was probably meant."""

from __future__ import annotations

import re

import pytest

from konnectivity.tool.cli.main import main

COMMANDS = ["demo", "pki", "kubeconfig", "egress-config", "manifests", "dial", "curl"]
COMMANDS += ["top", "doctor", "explain", "explain-route"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["doctr"], "doctor"),
        (["manifest"], "manifests"),
        (["explainroute", "x"], "explain-route"),
        (["manifests", "agnt"], "agent"),
    ],
)
def test_a_word_that_is_nearly_a_command(capsys: pytest.CaptureFixture[str], words: list[str], meant: str) -> None:
    assert f"did you mean {meant}?" in said(capsys, *words)


def test_a_word_that_is_like_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in said(capsys, "xyzzy")
    assert "did you mean" not in said(capsys, "'); (choose from")


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    assert [name for name in COMMANDS if not re.search(rf"^    {name}\s", text, re.MULTILINE)] == []
    assert text.endswith("konnectivity: error: a command is needed\n")
    assert "a command is needed" in said(capsys, "manifests")


@pytest.mark.parametrize("command", ["doctor", "explain"])
@pytest.mark.parametrize("program", ["proxy-agent", "/usr/bin/proxy-server"])
def test_arguments_of_a_program_that_do_not_stand_behind_two_dashes(
    capsys: pytest.CaptureFixture[str], command: str, program: str
) -> None:
    text = said(capsys, command, "-o=json", program, "--ca-cert=x", "--v=2")
    assert f"the arguments of {program} stand behind --" in text
    assert f"konnectivity {command} -o=json -- {program} --ca-cert=x ..." in text


def test_a_programs_name_elsewhere_is_no_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert "stand behind" not in said(capsys, "doctor", "--kubeconfig", "proxy-agent", "--timeout=x")
    assert "stand behind" not in said(capsys, "doctor", "--timeout=x", "--", "proxy-agent", "--ca-cert=x")
