"""Tests of the tool's client of admin ports with tokens: what it sends, and what it says when a token is refused."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from konnectivity.tool.admin_client import AdminError, TokenError, client_of
from konnectivity.tool.doctor import server_comparison

STATUSES = {"Bearer the-token-of-the-server": 200, "Bearer the-token-of-a": 403}


class Port(BaseHTTPRequestHandler):
    """Admin port that knows two tokens, and answers with the target of the request."""

    def do_GET(self) -> None:
        status = STATUSES.get(self.headers.get("Authorization", ""), 401)
        body = json.dumps({"error": "the token"} if status != 200 else {"target": self.path}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def address():
    with HTTPServer(("127.0.0.1", 0), Port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def token_file(tmp_path):
    def write(content: str) -> str:
        (tmp_path / "token").write_text(content)
        return str(tmp_path / "token")

    return write


def test_the_first_line_of_the_file_is_the_token_and_each_request_names_the_tenant(address, token_file):
    client = client_of(token_file("\nthe-token-of-the-server\nanother\n"), tenant="a&b")
    assert client.get_json(address, "/api/v1/agents") == {"target": "/api/v1/agents?tenant=a%26b"}
    assert client.get_json(address, "/x?y=1") == {"target": "/x?y=1&tenant=a%26b"}


def test_a_refused_token_is_told_with_what_to_do(address, token_file):
    with pytest.raises(TokenError, match="asks for a token: give --admin-token-file FILE"):
        client_of("").get(address, "/")
    file = token_file("the-wrong-one\n")
    with pytest.raises(TokenError, match=f"refuses the token of {file}: show the token of this server"):
        client_of(file).get(address, "/")
    with pytest.raises(TokenError, match="for one tenant only: name that tenant, or show the server's token"):
        client_of(token_file("the-token-of-a")).get(address, "/")


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "caf\xe9"])
def test_a_file_without_a_token_is_an_error_that_quotes_nothing_of_it(token_file, content):
    with pytest.raises(AdminError, match="has no token") as caught:
        client_of(token_file(content))
    assert not any(line and line in str(caught.value) for line in content.splitlines())


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(AdminError, match=r"cannot read --admin-token-file .*: no such file"):
        client_of(str(tmp_path / "none"))


def test_the_doctor_advises_another_token(address):
    view = server_comparison.ask(address, client_of(""))
    (found,) = [each for each in server_comparison.judge([view], (), 0.0) if each.where == address]
    assert "asks for a token" in found.what
    assert "--admin-token-file" in (found.do or "")
