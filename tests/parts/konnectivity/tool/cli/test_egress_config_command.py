"""`konnectivity egress-config`, as a person uses it. kube-apiserver agrees: tests/interop/test_egress_config.py."""

from __future__ import annotations

import functools
import json

import pytest

from konnectivity.tool.pki.authority import Authority

HEAD = "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections:\n"


@pytest.fixture
def egress(tool):
    return functools.partial(tool, "egress-config")


@pytest.fixture
def judged(egress, tmp_path):
    """Check a text and return line, result, finding and advice of each result."""

    def judged(text, *arguments):
        (tmp_path / "egress.yaml").write_text(text)
        code, out, _ = egress("validate", "egress.yaml", "-o", "json", *arguments)
        rows = json.loads(out)
        assert code == int(any(row["result"] in ("error", "warning") for row in rows))
        return [(row["where"].partition(":")[2], row["result"], row["finding"], row["do"]) for row in rows]

    return judged


def selection(protocol, transport="", name="cluster"):
    return f"- name: {name}\n  connection:\n    proxyProtocol: {protocol}\n{transport}"


def uds(path):
    return f"    transport:\n      uds:\n        udsName: {path}\n"


def tcp(url, **files):
    tls = "".join(f"          {name}: {path}\n" for name, path in files.items())
    return f"    transport:\n      tcp:\n        url: {url}\n        tlsConfig:\n{tls}"


def test_a_file_that_kube_apiserver_takes(judged):
    assert judged(HEAD + selection("GRPC", uds("/run/a.sock"))) == [("", "ok", "kube-apiserver accepts it", None)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            HEAD + selection("grpc", uds("/a")),
            ("6", "error", "proxyProtocol is 'grpc'", "write GRPC"),
        ),
        (
            HEAD + selection("http-connect", uds("/a")),
            ("6", "error", "proxyProtocol is 'http-connect'", "write HTTPConnect"),
        ),
        (
            HEAD + selection("GRPC", uds("/a").replace("udsName", "udsname")),
            (
                "9",
                "error",
                "egressSelections[0].connection.transport.uds.udsname is not a field that kube-apiserver knows",
                "write udsName",
            ),
        ),
        (
            HEAD + selection("GRPC", uds("/a")) + "        udsName: /b\n",
            (
                "10",
                "error",
                "egressSelections[0].connection.transport.uds.udsName is there twice",
                "remove one of the two",
            ),
        ),
        (
            HEAD + selection("GRPC", uds("/a")) + "metadata:\n  name: x\n",
            (
                "10",
                "error",
                "metadata is not a field that kube-apiserver knows",
                "there are apiVersion, kind, egressSelections",
            ),
        ),
        (
            HEAD + selection("GRPC", uds("on")),
            (
                "9",
                "error",
                "egressSelections[0].connection.transport.uds.udsName is true or false, not a string",
                'put it in quotes: "on"',
            ),
        ),
        (
            HEAD + selection("GRPC", uds("unix:///run/a.sock")),
            ("9", "warning", "udsName unix:///run/a.sock is taken as a path", "write ///run/a.sock"),
        ),
        (
            HEAD + selection("GRPC", uds("run/a.sock")),
            (
                "9",
                "warning",
                "udsName 'run/a.sock' is looked for in kube-apiserver's working directory",
                "write an absolute path",
            ),
        ),
        (
            HEAD + selection("GRPC", uds("/" + "a" * 107)),
            ("9", "warning", "udsName has 108 bytes, and a socket's path has up to 107", "take a shorter path"),
        ),
        (
            HEAD + selection("GRPC", uds("/a")) + selection("Direct", name="master"),
            ("10", "note", "master is the old name of controlplane", "write name: controlplane"),
        ),
        (
            HEAD.replace("v1beta1", "v1alpha1") + selection("GRPC", uds("/a")),
            (
                "1",
                "note",
                "apiVersion apiserver.k8s.io/v1alpha1 is old, and may be dropped",
                "write apiVersion: apiserver.k8s.io/v1beta1",
            ),
        ),
        (
            HEAD + selection("Direct", name="etcd"),
            (
                "3",
                "warning",
                "without a selection called cluster nothing goes to the nodes through the tunnel",
                "add one: `konnectivity egress-config`",
            ),
        ),
        (
            HEAD + selection("Direct"),
            (
                "6",
                "warning",
                "cluster is Direct: nothing goes through the tunnel",
                "see `konnectivity egress-config --help`",
            ),
        ),
        (
            HEAD + selection("HTTPConnect", tcp("https://proxy", clientCert="/no", clientKey="/no", caBundle="/no")),
            (
                "9",
                "warning",
                "url https://proxy has no host and port that can be dialled",
                "write https://HOST:PORT, with the server's --server-port",
            ),
        ),
        (
            HEAD + selection("HTTPConnect", tcp("https://a:1", clientKey="/no")),
            ("10", "error", "there is no clientCert", "write the path of a PEM file: `konnectivity pki` makes it"),
        ),
        (
            HEAD + selection("HTTPConnect", tcp("https://a:1", clientCert="/no.crt")),
            ("11", "error", "clientCert: there is no file /no.crt", "put it there, where kube-apiserver sees it"),
        ),
        (
            HEAD + selection("HTTPConnect", "    transport:\n      tcp:\n        url: http://a:1\n"),
            ("9", "error", "kube-apiserver crashes on http://", "write https://, and a tlsConfig"),
        ),
        (
            "a: [\n",
            ("2", "error", "is not YAML: expected the node content, but found '<stream end>'", "correct that line"),
        ),
        (
            "{\n'a': 1}",
            (
                "2",
                "error",
                "begins like JSON, and is none: Expecting property name enclosed in double quotes",
                "correct that line, or write YAML without the outer braces",
            ),
        ),
        ("hello", ("1", "error", "is not an EgressSelectorConfiguration", "write one: `konnectivity egress-config`")),
    ],
)
def test_a_finding_names_the_line_and_what_to_do(judged, text, found):
    assert found in judged(text)


def test_a_bomb_of_merges_is_refused_in_no_time(judged):
    names = [f"x{number}: &x{number}\n  <<: [{', '.join([f'*x{number - 1}'] * 9)}]\n" for number in range(1, 12)]
    found = judged("x0: &x0 {a: b}\n" + "".join(names) + "<<: *x11\n" + HEAD)
    assert any("far too much" in finding for _, _, finding, _ in found)


def test_an_anchor_within_itself_is_refused(judged):
    assert any("far too much" in finding for _, _, finding, _ in judged("&a\n<<: *a\n"))


def test_what_is_nested_deeply_is_refused(judged):
    assert judged("[" * 5000)[0][1] == "error"
    assert judged("{" + '"a":{' * 5000)[0][1] == "error"


def test_against_a_server(judged):
    grpc = HEAD + selection("GRPC", uds("/run/a.sock"))
    assert judged(grpc, "--server-args", "--mode=grpc", "--uds-name=/run/a.sock", "--server-port=0")[0][1] == "ok"
    assert (
        judged(grpc, "--server-args", "proxy-server", "--mode", "grpc,http-connect", "--uds-name", "/run/a.sock")[0][1]
        == "ok"
    )
    assert judged(grpc, "--server-args", "--mode=http-connect", "--uds-name=/run/b.sock") == [
        (
            "6",
            "warning",
            "GRPC needs --mode=grpc, and the server has --mode=http-connect",
            "change either; --mode=grpc,http-connect serves both",
        ),
        (
            "9",
            "warning",
            "udsName is /run/a.sock, and the server has --uds-name=/run/b.sock",
            "write the same, unless the two see the directory under other names",
        ),
    ]
    assert judged(grpc, "--server-args", "--server-cert=a")[0][2] == "the server has no --uds-name"


def test_certificates_against_a_server(judged, tmp_path):
    """The frontend's certificate has another name, and kube-apiserver's is of another CA."""
    frontend_ca, other = Authority.create("frontend-ca"), Authority.create("other")
    frontend_ca.write(tmp_path)
    frontend_ca.issue("frontend", dns=["proxy.example"], server=True).write(tmp_path, "frontend")
    other.issue("client", client=True).write(tmp_path, "client")
    files = {"caBundle": "ca.crt", "clientCert": "client.crt", "clientKey": "client.key"}
    text = HEAD + selection("HTTPConnect", tcp("https://localhost:8090", **{k: tmp_path / v for k, v in files.items()}))
    server = [f"--server-cert={tmp_path}/frontend.crt", f"--server-ca-cert={tmp_path}/ca.crt", "--mode=http-connect"]
    found = [finding for _, _, finding, _ in judged(text, "--server-args", *server)]
    assert any("does not name localhost" in finding for finding in found)
    assert any("client.crt: does not lead to" in finding for finding in found)
    named = text + "          tlsServerName: proxy.example\n"
    frontend_ca.issue("client", client=True).write(tmp_path, "client")
    assert judged(named, "--server-args", *server)[0][1] == "ok"
    assert (
        judged(named, "--server-args", *server, "--server-port=8091")[0][2]
        == "the url has port 8090, and the server --server-port=8091"
    )
    assert judged(named, "--server-args", "--uds-name=/a")[-1][2] == "the server has no TCP frontend"


def test_files_of_another_machine(judged, tmp_path):
    Authority.create("ca").issue("client", client=True).write(tmp_path / "root" / "pki", "client")
    text = HEAD + selection(
        "HTTPConnect", tcp("https://a:1", clientCert="/pki/client.crt", clientKey="/pki/client.key")
    )
    assert [row[1] for row in judged(text)] == ["note", "error", "error"]
    assert [row[1] for row in judged(text, f"--root={tmp_path / 'root'}")] == ["note", "ok"]
    assert [row[1] for row in judged(text, "--skip-files")] == ["note", "ok"]


def test_an_agent_of_the_wrong_kind_is_a_warning(judged, tmp_path):
    """kube-apiserver loads such a certificate, and the server refuses it."""
    Authority.create("ca").issue("client", dns=["a"], server=True).write(tmp_path, "client")
    files = {"clientCert": tmp_path / "client.crt", "clientKey": tmp_path / "client.key"}
    found = judged(HEAD + selection("HTTPConnect", tcp("https://a:1", **files)))
    assert ("11", "warning") in {row[:2] for row in found}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "say where the server is: --uds PATH, or --url https://HOST:PORT"),
        (("--uds=/a", "--url=https://a:1"), "say where the server is"),
        (("--mode=grpc", "--url=https://a:1"), "kube-apiserver speaks gRPC over a unix socket only"),
        (("--uds=/a", "--ca-cert=x"), "certificates are for --url"),
        (("--uds=a",), "is looked for in kube-apiserver's working directory"),
        (("--url=http://a:1",), "tlsConfig beside http://"),
        (("--url=https://a", "--client-cert=/a", "--client-key=/a"), "has no host and port"),
        (("--url=https://a:1", "--ca-cert=/a"), "there is no clientCert"),
        (("--uds=/a", "--direct=cluster"), "cluster cannot be both --proxied and --direct"),
        (("--uds=/a", "--proxied=nodes"), "'nodes' is not one of cluster, controlplane, etcd"),
        (("--uds=/a", "--file=there"), "nothing was written: there exists; --force replaces it"),
        (("--uds=/a", "--file=there/x"), "cannot write there/x: "),
        (
            ("--uds=/a", "--file=no/such/x"),
            "cannot write no/such/x: there is no directory no/such; make it, or correct",
        ),
        (("validate", "no-such.yaml"), "cannot read no-such.yaml: No such file or directory"),
        (
            ("validate", "there", "--server-args", "--no-such-flag"),
            "proxy-server does not start with these arguments: unknown flag",
        ),
        (("validate", "there", "--server-args", "--server-port=x"), "--server-port=x is not a port"),
    ],
)
def test_what_cannot_be_done_says_why(egress, tmp_path, arguments, text):
    (tmp_path / "there").write_text(HEAD)
    code, out, errors = egress(*arguments)
    assert (code, out) == (2, "")
    assert text in errors
    assert not (tmp_path / "no").exists()


def test_force_replaces_the_file(egress, tmp_path):
    (tmp_path / "there").write_text("old")
    assert egress("--uds=/a", "--file=there", "--force")[0] == 0
    assert "udsName: /a" in (tmp_path / "there").read_text()
