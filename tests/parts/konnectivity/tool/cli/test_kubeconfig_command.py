"""`konnectivity kubeconfig`, as a person uses it. With a real kube-apiserver and kubectl: tests/node."""

from __future__ import annotations

import base64
import functools
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509

from konnectivity.kube import kubeconfig
from konnectivity.kube.api_client import KubeClient
from konnectivity.tool.pki import private_keys
from konnectivity.tool.pki.authority import Authority
from support.kubernetes_api import KubernetesApi

USER = "system:konnectivity-server"


@pytest.fixture
def command(tool):
    return functools.partial(tool, "kubeconfig")


@pytest.fixture
def authority(tmp_path):
    made = Authority.create("kubernetes")
    made.write(tmp_path)
    (tmp_path / "ca.key").write_bytes(private_keys.to_pem(made.key))
    return made


@pytest.fixture
def written(command, authority):
    """Write a kubeconfig with the required arguments and the given ones."""
    return lambda *more: command("--server=https://127.0.0.1:6443", "--ca-cert=ca.crt", *more)


def checked(command, *arguments):
    code, out, _ = command("--check", *arguments, "-o", "json")
    return code, [(row["result"], row["finding"]) for row in json.loads(out)]


def client_certificate(path):
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))


def test_the_servers(written, command, tmp_path):
    code, out, errors = written("--ca-key=ca.key", "-o", "json")
    assert code == 0
    assert [row["user"] for row in json.loads(out)] == [USER]
    assert "`konnectivity manifests rbac`" in errors
    path = tmp_path / "konnectivity-server.conf"
    assert path.stat().st_mode & 0o777 == 0o600
    certificate = client_certificate(path)
    assert certificate.subject.rfc4514_string() == f"CN={USER}"  # no organization: no group
    assert timedelta(days=364) < certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=366)
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == f"{USER}@kubernetes"
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert checked(command) == (0, [("ok", "nothing is wrong with it")])


async def test_an_api_knows_its_user(written, command, tmp_path):
    with KubernetesApi(tmp_path / "api") as api:
        (tmp_path / "api" / "ca.key").write_bytes(private_keys.to_pem(api.authority.key))
        api.add_token("good", "system:serviceaccount:kube-system:agent", "konnectivity")
        ca = ("--ca-cert=api/ca.crt", "--ca-key=api/ca.key")
        assert command(f"--server={api.url}", *ca)[0] == 0
        async with KubeClient(kubeconfig.load("konnectivity-server.conf"), -1, 0, 5) as client:
            assert (await client.review_token("good", "konnectivity")).authenticated
        assert api.seen_by[USER] == 1


def test_a_short_life(written, tmp_path, command):
    assert written("--ca-key=ca.key", "--days=0.25")[0] == 0
    left = client_certificate(tmp_path / "konnectivity-server.conf").not_valid_after_utc - datetime.now(UTC)
    assert timedelta(hours=5) < left <= timedelta(hours=6)
    code, found = checked(command)
    assert code == 1
    assert found[0][0] == "warning"
    assert "expires in 5 hours" in found[0][1]


def test_a_token_that_somebody_else_renews(written, command, tmp_path):
    assert written("--token-file=token")[0] == 0
    user = yaml.safe_load((tmp_path / "konnectivity-server.conf").read_text())["users"][0]["user"]
    assert user == {"tokenFile": "token"}
    code, found = checked(command)
    assert code == 1
    assert found == [("warning", f"there is no token at {tmp_path}/token on this machine")]
    (tmp_path / "token").write_text("abc")
    assert checked(command)[0] == 0
    assert kubeconfig.load("konnectivity-server.conf").token_file == str(tmp_path / "token")


def test_a_certificate_that_there_is(written, authority, tmp_path, command):
    authority.issue("other", client=True, valid_for=timedelta(days=60)).write(tmp_path, "client")
    code, out, _ = written("--client-cert=client.crt", "--client-key=client.key", "--file=-")
    assert code == 0
    assert yaml.safe_load(out)["users"][0]["name"] == "other"
    assert not (tmp_path / "konnectivity-server.conf").exists()


def test_administrators_are_refused(written, authority, tmp_path, command):
    masters = authority.issue(USER, organization="system:masters", client=True, valid_for=timedelta(days=60))
    masters.write(tmp_path, "client")
    existing = ("--client-cert=client.crt", "--client-key=client.key")
    code, out, errors = written(*existing)
    assert (code, out) == (2, "")
    assert "its organization system:masters makes its holder the cluster's administrator" in errors
    assert "--allow-masters" in errors
    assert written(*existing, "--allow-masters")[0] == 0
    code, found = checked(command)
    assert code == 1
    assert found == [("error", "its organization system:masters makes its holder the cluster's administrator")]


def test_a_certificate_of_somebody_else(written, authority, tmp_path):
    authority.issue("a", client=True).write(tmp_path, "a")
    authority.issue("b", dns=["b"], server=True).write(tmp_path, "b")
    assert "the key does not belong to a.crt" in written("--client-cert=a.crt", "--client-key=b.key")[2]
    assert "is good for serverAuth, not for clientAuth" in written("--client-cert=b.crt", "--client-key=b.key")[2]


def test_nothing_is_replaced_unasked(written, tmp_path):
    (tmp_path / "konnectivity-server.conf").write_text("mine")
    code, _, errors = written("--ca-key=ca.key")
    assert code == 2
    assert "nothing was written: konnectivity-server.conf exists; --force replaces it" in errors
    assert (tmp_path / "konnectivity-server.conf").read_text() == "mine"
    assert written("--ca-key=ca.key", "--force")[0] == 0
    assert (tmp_path / "konnectivity-server.conf").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--ca-key=ca.key", "--server=http://a:1"), "'http://a:1' is no address like https://127.0.0.1:6443"),
        (("--ca-key=ca.key", "--server=https://a:x"), "is no address"),
        (("--ca-key=ca.key", "--server="), "say where the Kubernetes API is"),
        (("--ca-key=ca.key", "--token-file=a"), "say how the server logs in, in one way"),
        ((), "say how the server logs in"),
        (("--client-cert=a",), "--client-cert and --client-key go together"),
        (("--ca-key=none",), "cannot read none: No such file or directory"),
        (("--ca-key=ca.crt",), "cannot use ca.crt: holds no private key: it holds CERTIFICATE"),
        (("--ca-key=ca.key", "--ca-cert=ca.key"), "cannot use ca.key: holds no certificate: it holds PRIVATE KEY"),
        (("--ca-key=ca.key", "--user=" + "a" * 65), "--user has up to 64 characters"),
        (("--ca-key=ca.key", "--file=ca.key/x"), "cannot write ca.key/x"),
        (("--ca-key=ca.key", "--file=no/such/x"), "cannot write no/such/x: there is no directory no/such"),
        (("--ca-key=ca.key", "x.conf"), "FILE is for --check; the file to write is --file"),
    ],
)
def test_what_cannot_be_done_says_why(written, arguments, text):
    code, out, errors = written(*arguments)
    assert (code, out) == (2, "")
    assert errors.startswith("konnectivity kubeconfig: ")
    assert text in errors


@pytest.mark.parametrize(
    ("cluster", "user", "found"),
    [
        ({"server": "https://a", "insecure-skip-tls-verify": True}, {"token": "x"}, "insecure-skip-tls-verify: "),
        ({"server": "http://a:1"}, {"token": "x"}, "http://a:1 has no TLS"),
        ({"server": "https://a:1"}, {}, "the user has no credential"),
        ({"server": "https://a:1", "certificate-authority": "no-such.crt"}, {"token": "x"}, "cannot read CA bundle"),
        ({"server": "https://a:1", "certificate-authority": "ca.key"}, {"token": "x"}, "it holds PRIVATE KEY"),
        ({"server": "https://a:1"}, {"client-certificate": "ca.crt"}, "needs its key"),
        ({"server": "https://a:1"}, {"client-certificate": "ca.crt", "client-key": "ca.key"}, "is a CA: "),
        ({"server": ""}, {"token": "x"}, "there is no server"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one(command, authority, tmp_path, cluster, user, found):
    content = {
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "a", "user": user}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    (tmp_path / "a.conf").write_text(json.dumps(content))
    code, out, _ = command("--check", "a.conf")
    assert code == 1
    assert found in out


def test_rubbish_and_nothing(command, tmp_path):
    (tmp_path / "a.conf").write_text("{{{")
    code, out, _ = command("--check", "a.conf", "none.conf")
    assert code == 1
    assert "a.conf is no YAML" in out
    assert "cannot read kubeconfig 'none.conf'" in out


def test_a_file_that_everybody_reads_is_a_note(written, command, tmp_path):
    assert written("--ca-key=ca.key")[0] == 0
    (tmp_path / "konnectivity-server.conf").chmod(0o644)
    code, found = checked(command)
    assert code == 0
    assert found == [("note", "everybody on this machine may read it"), ("ok", "nothing is wrong with it")]
