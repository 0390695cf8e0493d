"""Tests in which kube-apiserver's own code judges egress configurations that we write, accept or refuse."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess

import pytest

from konnectivity.testing.deployment import Deployment
from konnectivity.tool.cli.main import main
from support import targets
from support.targets import listening

HEAD = "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\n"
CLUSTER = HEAD + "egressSelections:\n- name: cluster\n  connection:\n    proxyProtocol: "
UDS = CLUSTER + "GRPC\n    transport:\n      uds:\n        udsName: "
DIRECT = HEAD + "egressSelections:\n- name: etcd\n  connection:\n    proxyProtocol: Direct\n"
TCP = CLUSTER + "HTTPConnect\n    transport:\n      tcp:\n        "
TLS = "        tlsConfig: {caBundle: PKI/frontend-ca.crt, clientCert: PKI/client.crt, clientKey: PKI/client.key}\n"
EMPTY = {"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration", "egressSelections": []}

GOOD = {
    "uds": UDS + "/a\n",
    "a date": UDS + "2001-01-01\n",
    "base 60": UDS + "1:20\n",
    "binary": UDS + "!!binary aGk=\n",
    "a tag": UDS + "!!str 5\n",
    "another tag": UDS + "!foo x\n",
    "equals": UDS + "=\n",
    "an anchor": UDS + "&a /a\n",
    "several lines": UDS + "|\n          /a\n",
    "a prefix": UDS + "unix:///a\n",
    "a relative path": UDS + "a/b\n",
    "blanks": UDS + "'  '\n",
    "two documents": UDS + "/a\n---\nfoo: bar\n",
    "a broken second document": UDS + "/a\n---\n{{{\n",
    "what follows the end": UDS + "/a\n...\ngarbage: [\n",
    "a comment first": "# hello\n---\n" + UDS + "/a\n",
    "a mark of UTF-8": "\ufeff" + UDS + "/a\n",
    "lines of Windows": (UDS + "/a\n").replace("\n", "\r\n"),
    "v1alpha1": (UDS + "/a\n").replace("v1beta1", "v1alpha1"),
    "master": (UDS + "/a\n").replace("cluster", "master"),
    "capitals": (UDS + "/a\n").replace("cluster", "Cluster"),
    "no selections": HEAD,
    "null selections": HEAD + "egressSelections:\n",
    "an empty list": HEAD + "egressSelections: []\n",
    "direct": DIRECT,
    "direct and null": DIRECT + "    transport:\n",
    "an alias": DIRECT.replace("connection:", "connection: &c") + "- name: cluster\n  connection: *c\n",
    "JSON": json.dumps(EMPTY),
    "JSON with tabs": json.dumps(EMPTY, indent="\t"),
    "both with GRPC": UDS + "/a\n      tcp:\n        url: https://a:1\n",
    "HTTPConnect on a socket": (UDS + "/a\n").replace("GRPC", "HTTPConnect"),
    "tcp": TCP + "url: https://127.0.0.1:8090\n" + TLS,
    "without a CA": TCP + "url: https://127.0.0.1:8090\n" + TLS.replace("caBundle: PKI/frontend-ca.crt, ", ""),
    "a server name": TCP + "url: https://127.0.0.1:8090\n" + TLS.replace("{", "{tlsServerName: a.example, "),
    "a certificate of an agent": TCP + "url: https://a:1\n" + TLS.replace("client.", "agent."),
    "an expired certificate": TCP + "url: https://a:1\n" + TLS.replace("client.", "old."),
}
BAD = {
    **{
        f"not a string: {text}": UDS + text + "\n"
        for text in ("1", "yes", "y", "n", "on", "1.5", "0o7", "0x1F", "1_000", "0b11")
    },
    **{f"no string: {text}": UDS + text + "\n" for text in ("[a]", "{a: b}", "~", "''")},
    "empty": "",
    "a comment": "# x\n",
    "an empty first document": "---\n---\n" + UDS + "/a\n",
    "a list": "- a\n",
    "a word": "foo\n",
    "binary rubbish": b"\xff\xfe",
    "YAML 1.2": "%YAML 1.2\n---\n" + UDS + "/a\n",
    "a tab": UDS + "/a\n\t\n",
    "not closed": HEAD + "egressSelections: [\n",
    "an unknown alias": HEAD + "egressSelections: *x\n",
    "braces that are not JSON": "{apiVersion: apiserver.k8s.io/v1beta1, kind: EgressSelectorConfiguration}",
    "JSON and more": json.dumps(EMPTY) + "x",
    "JSON with a comma": json.dumps(EMPTY)[:-1] + ",}",
    "JSON twice": json.dumps(EMPTY)[:-1] + ', "kind": "EgressSelectorConfiguration"}',
    "internal": (UDS + "/a\n").replace("v1beta1", "__internal"),
    "v1": (UDS + "/a\n").replace("v1beta1", "v1"),
    "another group": (UDS + "/a\n").replace("apiserver.k8s.io", "apiserver.config.k8s.io"),
    "no version": (UDS + "/a\n").partition("\n")[2],
    "no kind": (UDS + "/a\n").replace("kind: EgressSelectorConfiguration\n", ""),
    "another kind": "apiVersion: apiserver.k8s.io/v1alpha1\nkind: AdmissionConfiguration\nplugins: []\n",
    "a kind in small letters": (UDS + "/a\n").replace("EgressSelectorConfiguration", "egressselectorconfiguration"),
    "a number for a kind": "apiVersion: apiserver.k8s.io/v1beta1\nkind: 1\n",
    "a mapping of selections": HEAD + "egressSelections: {}\n",
    "a string of selections": HEAD + "egressSelections: a\n",
    "a null selection": HEAD + "egressSelections:\n-\n",
    "a string as a selection": HEAD + "egressSelections:\n- a\n",
    "no connection": HEAD + "egressSelections:\n- name: cluster\n",
    "a null connection": HEAD + "egressSelections:\n- name: cluster\n  connection:\n",
    "no name": DIRECT.replace("name: etcd\n ", ""),
    "an unknown name": DIRECT.replace("etcd", "nodes"),
    "master in capitals": DIRECT.replace("etcd", "Master"),
    "a name twice": DIRECT + "- name: ETCD\n  connection:\n    proxyProtocol: Direct\n",
    "master and controlplane": DIRECT.replace("etcd", "master")
    + DIRECT.replace("etcd", "controlplane")[len(HEAD) + 18 :],
    "direct with a transport": DIRECT + "    transport: {}\n",
    "an unknown field": "metadata: {}\n" + UDS + "/a\n",
    "an unknown null field": UDS + "/a\nfoo:\n",
    "a number as a field": "1: 2\n" + UDS + "/a\n",
    "a list as a field": HEAD + "? [a]\n: b\n",
    "a field in capitals": (UDS + "/a\n").replace("udsName", "UDSName"),
    "a field twice": UDS + "/a\n        udsName: /b\n",
    "merged twice": DIRECT.replace("- name", "- &x\n  name") + "- <<: *x\n  name: cluster\n",
    "an unknown protocol": UDS.replace("GRPC", "grpc") + "/a\n",
    "no protocol": (UDS + "/a\n").replace("GRPC", ""),
    "GRPC without a transport": CLUSTER + "GRPC\n",
    "GRPC over TCP": (TCP + "url: https://a:1\n" + TLS).replace("HTTPConnect", "GRPC"),
    "HTTPConnect without a transport": CLUSTER + "HTTPConnect\n",
    "HTTPConnect over nothing": CLUSTER + "HTTPConnect\n    transport: {}\n",
    "HTTPConnect over both": TCP + "url: https://a:1\n" + TLS + "      uds: {udsName: /a}\n",
    "https without TLS": TCP + "url: https://a:1\n",
    "http": TCP + "url: http://a:1\n",
    "http with TLS": TCP + "url: http://a:1\n" + TLS,
    "no url": TCP + "url:\n" + TLS,
    "another scheme": TCP + "url: tcp://a:1\n" + TLS,
    "a scheme in capitals": TCP + "url: HTTPS://a:1\n" + TLS,
    "no certificate": TCP + "url: https://a:1\n" + TLS.replace("clientCert: PKI/client.crt, ", ""),
    "no key": TCP + "url: https://a:1\n" + TLS.replace(", clientKey: PKI/client.key", ""),
    "a CA that is not there": TCP + "url: https://a:1\n" + TLS.replace("frontend-ca", "no-ca"),
    "a certificate that is not there": TCP + "url: https://a:1\n" + TLS.replace("client.crt", "no.crt"),
    "a key that is not there": TCP + "url: https://a:1\n" + TLS.replace("client.key", "no.key"),
    "a key of another one": TCP + "url: https://a:1\n" + TLS.replace("client.key", "agent.key"),
    "a key for a certificate": TCP + "url: https://a:1\n" + TLS.replace("client.crt", "client.key"),
    "a certificate for a key": TCP + "url: https://a:1\n" + TLS.replace("client.key", "client.crt"),
    "a key for a CA": TCP + "url: https://a:1\n" + TLS.replace("frontend-ca.crt", "client.key"),
}
URLS = {
    "a": True, "a:": True, "a:1": True, "": True, ":1": True, "[::1]:1": True, "a:1/path": True, "u:p@a:1": True,
    "a:99999": True, "ä:1": True, "a:1?x=%zz": True, "[fe80::1%25eth0]:1": True, "a<b:1": True, "a:1/a b": True,
    "a'b:1": True,
    "a:x": False, "a b:1": False, "[::1:1": False, "::1:1": False, "a%zz:1": False, "a:1/%zz": False, "a:1 ": False,
    "a\\b:1": False, "a:1#%zz": False, "[fe80::1%eth0]:1": False, "a^b:1": False, "a|b:1": False,
}  # fmt: skip
CASES = {name: (text, True) for name, text in GOOD.items()} | {name: (text, False) for name, text in BAD.items()}
for _url, _good in URLS.items():
    CASES[f"url https://{_url}"] = (TCP + f"url: {json.dumps(f'https://{_url}', ensure_ascii=False)}\n" + TLS, _good)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    assert run("pki", "--directory", directory, "--server-name=a.example") == 0
    assert run("pki", "--directory", directory, "--only=client", "--as=old", "--days=0.00001") == 0
    return directory


@pytest.fixture
def judge(programs):
    def judge(path):
        done = subprocess.run([programs / "judge", "egress", path], capture_output=True, check=True, timeout=30)
        return json.loads(done.stdout)["error"]

    return judge


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return ended.value.code


@pytest.mark.parametrize(("text", "good"), CASES.values(), ids=CASES)
def test_we_say_what_kube_apiserver_says(text, good, judge, pki, tmp_path, capsys):
    path = tmp_path / "egress.yaml"
    content = text if isinstance(text, bytes) else text.replace("PKI", str(pki)).encode()
    path.write_bytes(content)
    run("egress-config", "validate", path, "-o", "json")
    rows = json.loads(capsys.readouterr().out)
    errors = [row for row in rows if row["result"] == "error"]
    said = judge(path)
    assert (said == "") == good, said
    assert (errors == []) == good, rows
    assert all(row["do"] for row in errors)


TRANSPORTS = [
    ("--uds", "/run/konnectivity.sock"),
    ("--uds", "/run/konnectivity.sock", "--mode", "http-connect"),
    ("--uds", "/run/konnectivity.sock", "--mode", "grpc"),
    ("--url", "https://127.0.0.1:8090", "--ca-cert", "PKI/frontend-ca.crt"),
    ("--url", "https://[::1]:8090", "--tls-server-name", "localhost"),
]
NAMES = [(), ("--proxied=cluster,etcd",), ("--direct=controlplane,etcd",), ("--proxied=etcd,cluster,controlplane",)]


@pytest.mark.parametrize("output", ["yaml", "json"])
@pytest.mark.parametrize(("transport", "names"), list(itertools.product(TRANSPORTS, NAMES)))
def test_kube_apiserver_takes_what_we_write(transport, names, output, judge, pki, tmp_path, capsys):
    tls = ("--client-cert", f"{pki}/client.crt", "--client-key", f"{pki}/client.key") if "--url" in transport else ()
    transport = [each.replace("PKI", str(pki)) for each in transport]
    path = tmp_path / "egress.yaml"
    assert run("egress-config", *transport, *tls, *names, "-o", output, "--file", path) == 0
    assert judge(path) == ""
    assert run("egress-config", "validate", path) == 0
    capsys.readouterr()
    assert run("egress-config", *transport, *tls, *names, "-o", output) == 0
    assert capsys.readouterr().out == path.read_text()


async def test_kube_apiserver_dials_through_what_we_made(programs, pki, tmp_path, kubelet):
    """kube-apiserver's egress selector dials with certificates of `pki` and a file of `egress-config`."""
    deployment = Deployment(tmp_path)
    made = tmp_path / "made"
    assert run("pki", "--directory", made, "--server-ip=127.0.0.1") == 0
    server = [f"--server-{flag}={made}/{name}" for flag, name in FRONTEND.items()]
    server += [f"--cluster-{flag}={made}/{name}" for flag, name in AGENTS.items()]
    egress = tmp_path / "egress.yaml"
    url = f"https://localhost:{deployment.server_port}"
    files = (
        "--ca-cert",
        made / "frontend-ca.crt",
        "--client-cert",
        made / "client.crt",
        "--client-key",
        made / "client.key",
    )
    assert run("egress-config", "--url", url, *files, "--file", egress) == 0
    arguments = deployment.server_arguments(*server, "--server-bind-address=")
    assert run("egress-config", "validate", egress, "--server-args", *arguments) == 0
    try:
        deployment.start_server(*server)
        agent = [f"--agent-cert={made}/agent.crt", f"--agent-key={made}/agent.key", f"--ca-cert={made}/ca.crt"]
        deployment.start_agent(*agent)
        async with listening(targets.echo) as address:
            command = [programs / "driver", f"--egress-config={egress}", f"--ca={kubelet[1]}", "echo", address]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=50)
        assert json.loads(done.stdout) == {"ok": True, "detail": 1}
    finally:
        deployment.stop()


FRONTEND = {"cert": "frontend.crt", "key": "frontend.key", "ca-cert": "frontend-ca.crt"}
AGENTS = {"cert": "server.crt", "key": "server.key", "ca-cert": "ca.crt"}
