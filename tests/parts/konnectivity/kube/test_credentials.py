"""Tokens that change in their file, and credential plugins that print tokens."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from konnectivity.kube import credentials
from konnectivity.kube.api_access import Access, Plugin
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.credentials import PluginToken, TokenFile
from konnectivity.kube.kubeconfig_files import EXEC_VERSIONS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_what_an_access_names():
    async def header(**how):
        return await credentials.of(Access("test", "https://api", **how)).header()

    assert await header() == ""
    assert await header(token="abc") == "Bearer abc"
    assert await header(basic=("me", "pw")) == "Basic bWU6cHc="


async def test_a_token_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "token"
    path.write_text("one\n")
    token = TokenFile(str(path))
    assert await token.header() == "Bearer one"
    (tmp_path / "new").write_text("two\n")
    (tmp_path / "new").rename(path)
    assert await token.header() == "Bearer two"


async def test_a_token_that_was_refused_is_read_again_even_if_the_file_looks_the_same(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    token, status = TokenFile(str(path)), path.stat()
    await token.header()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    token.rejected("Bearer one")
    assert await token.header() == "Bearer two"


async def test_a_token_file_that_goes_away_leaves_the_last_token(tmp_path):
    path = tmp_path / "token"
    path.write_text("one")
    token = TokenFile(str(path))
    await token.header()
    path.write_text("")
    assert await token.header() == "Bearer one"
    path.unlink()
    assert await token.header() == "Bearer one"


async def test_no_token_at_all(tmp_path):
    with pytest.raises(KubeError, match=r"cannot read token file '.*token': No such file"):
        await TokenFile(str(tmp_path / "token")).header()
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(KubeError, match="is empty"):
        await TokenFile(str(tmp_path / "token")).header()
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(KubeError, match="it is no text"):
        await TokenFile(str(tmp_path / "token")).header()


def plugin(code, *, hint="", cluster=None):
    return Plugin(sys.executable, ("-c", code), {"REGION": "here"}, EXEC_VERSIONS[0], hint, cluster)


def printing(tmp_path, ends=""):
    """Return a plugin that counts its runs in a file and prints a token with that number."""
    return plugin(f"""
import json, os
path = {str(tmp_path / "runs")!r}
with open(path, "a") as file: file.write("x")
told = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
token = f"{{os.path.getsize(path)}}-{{os.environ['REGION']}}-{{told['spec'].get('cluster', {{}}).get('server')}}"
print(json.dumps({{"status": {{"token": token, "expirationTimestamp": {ends!r} or None}}}}))
""")


async def test_a_plugin_is_run_once_until_its_token_is_refused(tmp_path):
    token = PluginToken(printing(tmp_path)._replace(cluster={"server": "https://api"}))
    assert await asyncio.gather(token.header(), token.header()) == ["Bearer 1-here-https://api"] * 2
    assert token.rejected("Bearer an older one")
    assert await token.header() == "Bearer 1-here-https://api"
    assert token.rejected("Bearer 1-here-https://api")
    assert await token.header() == "Bearer 2-here-https://api"


async def test_a_plugin_is_run_again_before_its_token_ends(tmp_path):
    now = NOW
    token = PluginToken(printing(tmp_path, "2026-01-01T01:00:00Z"), lambda: now)
    assert await token.header() == "Bearer 1-here-None"
    now = NOW + timedelta(minutes=59)
    assert await token.header() == "Bearer 1-here-None"
    now = NOW + timedelta(minutes=59, seconds=55)
    assert await token.header() == "Bearer 2-here-None"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('no login\\n')", "exit code 1: no login"),
        ("print('hello')", "printed no ExecCredential"),
        ("print('[]')", "printed no ExecCredential"),
        ("print('{\"status\": []}')", "printed no ExecCredential"),
        (f"print({json.dumps({'status': {'token': 't', 'expirationTimestamp': 'soon'}})!r})", "no ExecCredential"),
        (f"print({json.dumps({'status': {'clientCertificateData': 'c'}})!r})", "printed no token"),
    ],
)
async def test_a_plugin_that_fails(code, problem):
    with pytest.raises(KubeError) as caught:
        await PluginToken(plugin(code)).header()
    assert problem in str(caught.value)
    assert sys.executable in str(caught.value)


async def test_a_plugin_that_is_not_installed():
    missing = plugin("", hint="Get it at https://example.com")._replace(command="/nowhere/login")
    with pytest.raises(KubeError, match=r"'/nowhere/login': cannot be started: No such .*\. Get it at https://example"):
        await PluginToken(missing).header()


async def test_a_plugin_that_hangs_is_killed():
    with pytest.raises(KubeError, match=r"did not end in 0\.3 s"):
        await PluginToken(plugin("import time; time.sleep(60)"), timeout_s=0.3).header()
