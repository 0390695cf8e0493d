"""Kubeconfig files in every usual form, and the errors for wrong ones."""

from __future__ import annotations

import base64
import json
import os

import pytest

from konnectivity.kube import kubeconfig
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.kubeconfig_files import EXEC_VERSIONS

CA = b"a CA bundle"


def write(path, cluster=None, user=None, **top):
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443"} if cluster is None else cluster}],
        "users": [{"name": "u", "user": {} if user is None else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **top,
    }
    path.write_text(json.dumps(content))
    return str(path)


def encoded(data):
    return base64.b64encode(data).decode()


@pytest.fixture
def config(tmp_path):
    return tmp_path / "config"


def test_a_server_alone(config):
    access = kubeconfig.load(write(config))
    assert (access.server, access.ca, access.insecure, access.token) == ("https://api:6443", None, False, "")
    assert access.source == str(config)


def test_inline_data(config):
    cluster = {"server": "https://api:6443/", "certificate-authority-data": encoded(CA)}
    user = {"client-certificate-data": encoded(b"cert"), "client-key-data": encoded(b"key")}
    access = kubeconfig.load(write(config, cluster, user))
    assert (access.ca.read(), access.certificate.read(), access.key.read()) == (CA, b"cert", b"key")
    assert access.server == "https://api:6443"


def test_files_are_relative_to_the_kubeconfig(tmp_path, monkeypatch):
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(CA)
    user = {"client-certificate": "/etc/proxy.crt", "client-key": "pki/proxy.key"}
    path = write(tmp_path / "config", {"server": "https://api", "certificate-authority": "pki/ca.crt"}, user)
    monkeypatch.chdir(tmp_path)
    for name in (path, "config"):
        access = kubeconfig.load(name)
        assert access.ca.read() == CA
        assert access.certificate.path == "/etc/proxy.crt"
        assert access.key.path == f"{tmp_path}/pki/proxy.key"


def test_data_wins_over_a_file(config):
    both = {"server": "https://api", "certificate-authority": "nowhere", "certificate-authority-data": encoded(CA)}
    assert kubeconfig.load(write(config, both)).ca.read() == CA


@pytest.mark.parametrize(
    ("user", "field", "value"),
    [
        ({"token": "abc\n"}, "token", "abc"),
        ({"tokenFile": "/run/token", "token": "abc"}, "token_file", "/run/token"),
        ({"username": "me", "password": "pw"}, "basic", ("me", "pw")),
        ({}, "token", ""),
        (None, "token", ""),
    ],
)
def test_ways_to_log_in(config, user, field, value):
    assert getattr(kubeconfig.load(write(config, user=user)), field) == value


def test_the_other_fields_of_a_cluster(config):
    cluster = {
        "server": "https://10.0.0.1",
        "insecure-skip-tls-verify": True,
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
    }
    access = kubeconfig.load(write(config, cluster))
    assert (access.insecure, access.server_name, access.proxy) == (True, "kubernetes", "http://proxy:3128")


def test_a_plugin(config):
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "bin/login",
        "args": ["--now"],
        "env": [{"name": "REGION", "value": "x"}],
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": True,
    }
    cluster = {"server": "https://api", "certificate-authority-data": encoded(CA), "tls-server-name": "kubernetes"}
    found = kubeconfig.load(write(config, cluster, {"exec": plugin})).plugin
    assert found.command == str(config.parent / "bin" / "login")
    assert (found.arguments, found.environment) == (("--now",), {"REGION": "x"})
    assert found.cluster == {
        "server": "https://api",
        "insecure-skip-tls-verify": False,
        "certificate-authority-data": encoded(CA),
        "tls-server-name": "kubernetes",
    }


def test_empty_lists_and_other_keys_do_no_harm(config):
    config.write_text("""
apiVersion: v1
kind: Config
preferences: {}
users: null
clusters:
- name: c
  cluster: {server: "https://api", extensions: []}
contexts:
- name: x
  context: {cluster: c, user: "", namespace: null}
current-context: x
""")
    assert kubeconfig.load(str(config)).server == "https://api"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n  b: [", "is no YAML: line 2: expected the node content"),
        ("a: b: c", "is no YAML: line 1: mapping values are not allowed here"),
        ("\x00", "is no YAML: "),
        ("- a\n", "document: expected an object, found a list"),
        ("", "there is no current-context"),
        ("current-context: x", "there is no context 'x'"),
        ("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]", "there is no cluster 'c'"),
        ("current-context: x\ncontexts: [{name: x, context: null}]", "there is no context 'x'"),
        ("current-context: 3", "current-context: expected a string, found an integer"),
    ],
)
def test_a_file_that_is_none(config, text, problem):
    config.write_text(text)
    with pytest.raises(KubeError) as caught:
        kubeconfig.load(str(config))
    assert str(config) in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "user", "problem"),
    [
        ({}, {}, "cluster 'c': there is no server"),
        ({"server": "ftp://api"}, {}, "neither https:// nor http://"),
        *(
            ({"server": server}, {}, "is no URL of a host")
            for server in ("https://[::1:6443", "https://api:99999", "https://api:six", "https://", "https://:6443")
        ),
        (
            {"server": "https://api", "insecure-skip-tls-verify": True, "certificate-authority": "ca"},
            {},
            "insecure-skip-tls-verify and a certificate authority exclude each other",
        ),
        ({"server": "https://api", "certificate-authority-data": "%%%"}, {}, "certificate-authority-data is no base64"),
        ({"server": 5}, {}, "clusters[0].cluster.server: expected a string, found an integer"),
        (None, {"client-certificate": "a"}, "user 'u': a client certificate needs its key"),
        (None, {"client-key-data": encoded(b"k")}, "and a key its certificate"),
        (None, {"auth-provider": {"name": "gcp"}}, "'auth-provider' is not supported"),
        (None, {"as": "root"}, "'as' is not supported"),
        (None, {"token": 5}, "users[0].user.token: expected a string, found an integer"),
        (None, {"exec": {"apiVersion": "v2", "command": "x"}}, "exec apiVersion 'v2' is none of"),
        (None, {"exec": {"apiVersion": EXEC_VERSIONS[0]}}, "users[0].user.exec.command is missing"),
        (
            None,
            {"exec": {"apiVersion": EXEC_VERSIONS[0], "command": "x", "interactiveMode": "Always"}},
            "needs a person to answer it",
        ),
    ],
)
def test_a_content_that_makes_no_sense(config, cluster, user, problem):
    with pytest.raises(KubeError) as caught:
        kubeconfig.load(write(config, cluster, user))
    assert str(config) in str(caught.value)
    assert problem in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(KubeError, match=r"cannot read kubeconfig '.*/config': No such file or directory"):
        kubeconfig.load(str(tmp_path / "config"))
    access = kubeconfig.load(write(tmp_path / "config", {"server": "https://api", "certificate-authority": "ca.crt"}))
    with pytest.raises(KubeError, match=r"cannot read CA bundle '.*/ca.crt': No such file or directory"):
        access.ca.read()


def service_account(tmp_path):
    (tmp_path / "token").write_text("t")
    return {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_in_a_cluster(tmp_path):
    environ = service_account(tmp_path)
    access = kubeconfig.load("", environ, tmp_path)
    assert (access.server, access.token_file) == ("https://10.96.0.1:443", f"{tmp_path}/token")
    assert access.ca.path == f"{tmp_path}/ca.crt"
    assert (
        kubeconfig.load("", environ | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).server
        == "https://[fd00::1]:443"
    )


def test_a_named_file_wins_over_the_cluster(tmp_path):
    environ = service_account(tmp_path)
    assert kubeconfig.load(write(tmp_path / "config"), environ, tmp_path).server == "https://api:6443"


def test_elsewhere_the_users_kubeconfig(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        KubeError, match=r"no --kubeconfig, no service account at .*, and no kubeconfig at ~/.kube/config"
    ):
        kubeconfig.load("", {}, tmp_path / "none")
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", {"server": "https://home"})
    assert kubeconfig.load("", {}, tmp_path / "none").server == "https://home"
    environ = {"KUBECONFIG": write(tmp_path / "other", {"server": "https://other"})}
    assert kubeconfig.load("", environ, tmp_path / "none").server == "https://other"


def test_several_files_the_first_to_name_something_wins(tmp_path):
    (tmp_path / "sub").mkdir()
    first = tmp_path / "first"
    first.write_text(json.dumps({"users": [{"name": "u", "user": {"token": "first"}}]}))
    cluster = {"server": "https://second", "certificate-authority": "ca.crt"}
    second = write(tmp_path / "sub" / "second", cluster, {"token": "second"})
    environ = {"KUBECONFIG": os.pathsep.join([str(first), str(tmp_path / "missing"), second])}
    access = kubeconfig.load("", environ, tmp_path / "none")
    assert (access.server, access.token) == ("https://second", "first")
    assert access.ca.path == f"{tmp_path}/sub/ca.crt"


def test_secrets_do_not_show(config):
    access = kubeconfig.load(write(config, user={"token": "geheim"}))
    assert "geheim" not in repr(access)
