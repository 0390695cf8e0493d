"""`konnectivity pki`, as a person uses it; OpenSSL verifies its certificates."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import kubernetes_validate
import pytest
import yaml
from cryptography import x509

PURPOSES = {"server": "sslserver", "frontend": "sslserver", "client": "sslclient", "agent": "sslclient"}
AUTHORITIES = {"server": "ca", "agent": "ca", "frontend": "frontend-ca", "client": "frontend-ca"}
NAMES = ("--server-name=konnectivity.example", "--server-ip=203.0.113.7")


@pytest.fixture
def pki(tool, tmp_path):
    """Return a function that runs the command on the test's directory and returns exit code, output and errors."""

    def run(*arguments, directory=True):
        at = ["--directory", str(tmp_path / "pki")] if directory else []
        return tool("pki", *at, *arguments)

    return run


@pytest.fixture
def made(pki, tmp_path):
    code, _, errors = pki(*NAMES)
    assert (code, errors) == (0, "")
    return tmp_path / "pki"


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def verified(directory, name, *more):
    ca = directory / f"{AUTHORITIES[name]}.crt"
    return openssl(
        "verify", "-x509_strict", "-purpose", PURPOSES[name], "-CAfile", ca, *more, directory / f"{name}.crt"
    )


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def findings(out):
    return {(row["where"].rpartition("/")[2], row["result"]) for row in json.loads(out)}


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is missing")


@needs_openssl
def test_a_peer_server_shows_one_certificate_as_server_and_as_client(pki, tmp_path):
    assert "say how peer servers reach the server" in pki("--only", "peer")[2]
    assert pki("--only", "peer", "--peer-name", "peers.example")[0] == 0
    for purpose in ("sslserver", "sslclient"):
        ca, leaf = tmp_path / "pki/peer-ca.crt", tmp_path / "pki/peer.crt"
        assert openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, leaf)[0] == 0
    code, out, _ = pki("--check", "-o", "json")
    assert (code, {result for _, result in findings(out)}) == (0, {"ok"})
    assert not (tmp_path / "pki/server.crt").exists()


@needs_openssl
@pytest.mark.parametrize("key_type", ["ECDSA-P256", "ECDSA-P384", "RSA-2048"])
def test_openssl_accepts_each_for_its_purpose_and_no_other(pki, tmp_path, key_type):
    assert pki(*NAMES, f"--key-type={key_type}")[0] == 0
    for name, purpose in PURPOSES.items():
        assert verified(tmp_path / "pki", name) == (0, f"{tmp_path}/pki/{name}.crt: OK\n")
        other = "sslclient" if purpose == "sslserver" else "sslserver"
        assert verified(tmp_path / "pki", name, "-purpose", other)[0] != 0
    for ca in ("ca", "frontend-ca"):
        path = tmp_path / "pki" / f"{ca}.crt"
        assert openssl("verify", "-x509_strict", "-CAfile", path, path)[0] == 0


@needs_openssl
def test_names_are_those_that_were_asked_for(made):
    for name in ("konnectivity.example", "203.0.113.7"):
        check = "-verify_ip" if name[0].isdigit() else "-verify_hostname"
        assert verified(made, "server", check, name)[0] == 0
    assert verified(made, "server", "-verify_hostname", "konnectivity-server")[0] != 0  # the common name
    assert verified(made, "frontend", "-verify_ip", "127.0.0.1")[0] == 0


@needs_openssl
def test_an_agents_certificate_does_not_open_the_frontend(made):
    frontend_ca = made / "frontend-ca.crt"
    assert openssl("verify", "-CAfile", frontend_ca, made / "client.crt")[0] == 0
    assert openssl("verify", "-CAfile", frontend_ca, made / "agent.crt")[0] != 0


def test_only_its_owner_reads_a_key(made):
    for path in made.glob("*.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in made.iterdir()} == {
        f"{stem}.{ending}" for stem in ("ca", "frontend-ca", *PURPOSES) for ending in ("crt", "key")
    }


def test_the_table_says_what_was_made(pki, tmp_path):
    _, out, _ = pki(*NAMES)
    lines = out.splitlines()
    assert lines[0].split() == ["FILE", "STATE", "SUBJECT", "SANS", "USAGES", "NOT", "AFTER", "USED", "BY"]
    server = next(line for line in lines if "server.crt" in line)
    for text in ("made", "DNS:konnectivity.example,IP:203.0.113.7", "serverAuth", "proxy-server --cluster-cert"):
        assert text in server


def test_the_same_for_programs(pki):
    _, out, _ = pki(*NAMES, "-o", "json")
    server = next(row for row in json.loads(out) if row["file"].endswith("/server.crt"))
    assert server["sans"] == ["DNS:konnectivity.example", "IP:203.0.113.7"]
    assert server["key"].endswith("/server.key")


def test_nothing_is_replaced_unasked(pki, made):
    before = {path: path.read_bytes() for path in made.iterdir()}
    code, out, errors = pki(*NAMES)
    assert (code, out) == (2, "")
    assert "nothing was written: " in errors
    assert "--renew NAME or --force replaces them" in errors
    assert {path: path.read_bytes() for path in made.iterdir()} == before


def test_force_replaces_certificates_and_keeps_the_cas(pki, made):
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert pki(*NAMES, "--force")[0] == 0
    same = {path.name for path in made.iterdir() if path.read_bytes() == before[path.name]}
    assert same == {"ca.crt", "ca.key", "frontend-ca.crt", "frontend-ca.key"}
    assert pki("--check")[0] == 0


def test_renewing_keeps_the_names_and_makes_a_new_key(pki, made):
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    old = certificate(made / "server.crt")
    code, out, _ = pki("--renew=server", "--days=700")
    assert code == 0
    assert "kept" in out
    new = certificate(made / "server.crt")
    names = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName) for each in (old, new)]
    assert names[0] == names[1]
    assert new.public_key() != old.public_key()
    assert timedelta(days=699) < new.not_valid_after_utc - datetime.now(UTC) < timedelta(days=701)
    assert {path.name for path in made.iterdir() if path.read_bytes() != before[path.name]} == {
        "server.crt",
        "server.key",
    }


def test_renewing_with_another_name(pki, made):
    assert pki("--renew=server", "--server-name=other.example")[0] == 0
    assert pki("--check", "--server-name=other.example")[0] == 0
    assert pki("--check", "--server-name=konnectivity.example")[0] == 1


def test_an_agent_with_a_name_of_its_own(pki, made):
    claims = "konnectivity:cidr=10.1.0.0/16"
    code, _, _ = pki(
        "--only=agent", "--as=node-7", "--agent-name=node-7", "--agent-ip=10.0.0.7", f"--agent-uri={claims}"
    )
    assert code == 0
    found = certificate(made / "node-7.crt")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.subject.rfc4514_string() == "CN=node-7"
    assert names.get_values_for_type(x509.DNSName) == ["node-7"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [claims]
    assert pki("--check")[0] == 0
    assert pki("--renew=agent", "--as=node-7")[0] == 0
    assert certificate(made / "node-7.crt").subject == found.subject


def new_ca(directory, key="ec -pkeyopt ec_paramgen_curve:P-384", issuer=None):
    """Make a CA with OpenSSL, an intermediate one if `issuer` is given; return its certificate and key."""
    name = "middle" if issuer else "root"
    made, its_key = directory / f"{name}.crt", directory / f"{name}.key"
    signer = ["-CA", issuer[0], "-CAkey", issuer[1]] if issuer else []
    extensions = ["-addext", "keyUsage=critical,keyCertSign", "-addext", "subjectKeyIdentifier=01:02:03"]
    extensions += ["-addext", f"authorityKeyIdentifier={'keyid' if issuer else 'none'}"]
    files = ["-nodes", "-days", 60, "-subj", f"/CN={name}", "-keyout", its_key, "-out", made]
    code, text = openssl("req", "-x509", "-newkey", *key.split(), *signer, *extensions, *files)
    assert code == 0, text
    return made, its_key


@needs_openssl
@pytest.mark.parametrize("kind", ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"])
def test_an_existing_ca_issues_too(pki, tmp_path, kind):
    """A CA that OpenSSL made, with key identifiers of another kind, issues certificates."""
    ca, key = new_ca(tmp_path, kind)
    code, _, errors = pki(*NAMES, f"--ca-cert={ca}", f"--ca-key={key}")
    assert code == 0, errors
    assert "note: the CA CN=root ends on" in errors
    assert "whoever has a client certificate of CN=root is accepted" in errors
    directory = tmp_path / "pki"
    assert certificate(directory / "ca.crt") == certificate(ca)
    assert not (directory / "ca.key").exists()
    assert verified(directory, "server")[0] == verified(directory, "agent")[0] == 0
    assert certificate(directory / "server.crt").not_valid_after_utc == certificate(ca).not_valid_after_utc
    code, _, errors = pki("--renew=agent")
    assert code == 2
    assert "ca.key is missing, and nothing can be issued without it; give --ca-cert, --ca-key" in errors
    assert pki("--renew=agent", f"--ca-cert={ca}", f"--ca-key={key}")[0] == 0


@needs_openssl
def test_an_intermediate_comes_with_what_it_issued(pki, tmp_path):
    root = new_ca(tmp_path)
    middle, key = new_ca(tmp_path, issuer=root)
    assert pki(*NAMES, f"--ca-cert={middle}", f"--ca-key={key}")[0] == 0
    server = tmp_path / "pki" / "server.crt"
    assert openssl("verify", "-x509_strict", "-CAfile", root[0], "-untrusted", server, server) == (0, f"{server}: OK\n")
    assert pki("--check", str(server), f"--ca-cert={root[0]}", "--role=server", directory=False)[0] == 0
    assert pki("--check", str(server), f"--ca-cert={middle}", directory=False)[0] == 0


def test_secrets_for_kubectl(pki, tmp_path):
    code, out, _ = pki(*NAMES, "--secrets", "--namespace=konnectivity", directory=False)
    assert code == 0
    secrets = {each["metadata"]["name"]: each for each in yaml.safe_load_all(out)}
    assert set(secrets) == {f"konnectivity-{stem}" for stem in ("ca", "frontend-ca", *PURPOSES)}
    for secret in secrets.values():
        kubernetes_validate.validate(secret, "1.34", strict=True)
        assert secret["metadata"]["namespace"] == "konnectivity"
        data = {name: base64.b64decode(text) for name, text in secret["data"].items()}
        for name, content in data.items():
            (tmp_path / name).write_bytes(content)
        path = str(tmp_path / "tls.crt")
        assert (
            pki("--check", path, f"--key={tmp_path / 'tls.key'}", f"--ca-cert={tmp_path / 'ca.crt'}", directory=False)[
                0
            ]
            == 0
        )


def test_secrets_of_an_existing_ca_do_not_hold_its_key(pki, made):
    ca = [f"--ca-cert={made / 'ca.crt'}", f"--ca-key={made / 'ca.key'}"]
    code, out, _ = pki("--secrets", "--only=agent", *ca, "-o", "json", directory=False)
    assert code == 0
    assert [each["metadata"]["name"] for each in json.loads(out)] == ["konnectivity-agent"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "say how agents reach the server: --server-name HOST, --server-ip ADDRESS"),
        (("--server-name=https://a.example",), "'https://a.example' is neither a host name nor an IP address"),
        (("--server-ip=10.0.0.300",), "'10.0.0.300' is neither a host name nor an IP address"),
        (("--server-name=a..b",), "'a..b' is neither"),
        (("--server-name=" + "a" * 64,), "is neither"),
        (("some.crt",), "FILE is for --check"),
        (("--role=server", *NAMES), "--key and --role are for --check"),
        (("--as=x", *NAMES), "--as names one certificate"),
        (("--as=../x", "--only=agent"), "a name without slashes"),
        (("--only=agent", "--renew=client"), "give --only (make) or --renew (replace), not both"),
        (("--ca-cert=x", *NAMES), "--ca-cert and --ca-key go together"),
        (("--ca-cert=no-such", "--ca-key=no-such", *NAMES), "cannot read no-such: No such file or directory"),
        (("--secrets", *NAMES), "--secrets writes no files"),
        (("--renew=agent",), "agent.crt: No such file or directory"),
        (("--check",), "there is no .crt file in "),
        (("--check", "/no/such.crt"), "cannot read /no/such.crt: No such file or directory"),
        (("--check", "a", "b", "--key=c"), "--key belongs to one FILE"),
    ],
)
def test_what_cannot_be_done_says_why(pki, tmp_path, arguments, text):
    code, out, errors = pki(*arguments)
    assert (code, out) == (2, "")
    assert errors.startswith("konnectivity pki: ")
    assert text in errors
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("days", ["0", "-1", "nan", "1e9", "a year"])
def test_days_are_a_sensible_number(pki, days):
    code, _, errors = pki(*NAMES, f"--days={days}")
    assert code == 2
    assert "is not a number of days" in errors


def test_a_file_that_is_no_ca_issues_nothing(pki, made):
    leaf = [f"--ca-cert={made / 'server.crt'}", f"--ca-key={made / 'server.key'}"]
    code, _, errors = pki("--secrets", "--only=agent", *leaf, directory=False)
    assert (code, "is not a CA" in errors) == (2, True)
    mixed = [f"--ca-cert={made / 'ca.crt'}", f"--ca-key={made / 'server.key'}"]
    code, _, errors = pki("--secrets", "--only=agent", *mixed, directory=False)
    assert (code, "does not belong to" in errors) == (2, True)


def test_another_ca_does_not_come_into_a_directory_that_has_one(pki, made, tmp_path):
    shutil.copytree(made, tmp_path / "other")
    shutil.rmtree(made)
    assert pki(*NAMES)[0] == 0
    other = tmp_path / "other"
    code, _, errors = pki("--renew=agent", f"--ca-cert={other / 'ca.crt'}", f"--ca-key={other / 'ca.key'}")
    assert code == 2
    assert "is another CA than --ca-cert" in errors


def test_a_directory_that_cannot_be_written(pki, tmp_path):
    (tmp_path / "pki").write_text("a file")
    code, _, errors = pki(*NAMES)
    assert code == 2
    assert "cannot write" in errors or "Not a directory" in errors


def test_all_is_well(pki, made):
    code, out, _ = pki(*NAMES, "--check", "-o", "json")
    assert code == 0
    assert {result for _, result in findings(out)} == {"ok"}
    assert len(json.loads(out)) == 6


def test_what_expires_soon_is_found_by_who_asks_early(pki, made):
    assert pki("--renew=agent", "--days=20")[0] == 0
    code, out, _ = pki("--check")
    assert code == 1
    assert "expires in 19 days" in out
    assert pki("--check", "--warn-days=10")[0] == 0


def test_a_name_that_is_missing(pki, made):
    code, out, _ = pki("--check", "--server-name=other.example", "-o", "json")
    assert code == 1
    row = next(row for row in json.loads(out) if row["result"] == "error")
    assert row["where"].endswith("server.crt")
    assert "does not name other.example" in row["finding"]
    assert "DNS:konnectivity.example" in row["finding"]


def test_files_that_were_mixed_up(pki, made):
    shutil.copy(made / "client.key", made / "agent.key")
    shutil.copy(made / "agent.crt", made / "client.crt")
    shutil.copy(made / "agent.crt", made / "frontend.crt")
    (made / "server.key").write_bytes((made / "server.key").read_bytes()[:100])
    (made / "ca.crt").write_bytes(b"")
    code, out, _ = pki("--check", "-o", "json")
    found = {(row["where"].rpartition("/")[2], row["finding"]) for row in json.loads(out) if row["result"] == "error"}
    assert code == 1
    assert ("server.key", "line 1: the PRIVATE KEY has no end") in found
    assert ("agent.key", f"the key does not belong to {made}/agent.crt") in found
    assert ("ca.crt", "holds no certificate: it is empty") in found
    assert ("frontend.crt", "is good for clientAuth, not for serverAuth") in found
    assert any(name == "client.crt" and "does not lead to" in text for name, text in found)


@needs_openssl
def test_a_signature_over_sha_1(pki, tmp_path):
    root, key = new_ca(tmp_path)
    files = ["-keyout", tmp_path / "old.key", "-out", tmp_path / "old.crt", "-subj", "/CN=old", "-nodes"]
    assert openssl("req", "-x509", "-newkey", "rsa:2048", "-CA", root, "-CAkey", key, "-sha1", *files)[0] == 0
    code, out, _ = pki("--check", str(tmp_path / "old.crt"), f"--ca-cert={root}", directory=False)
    assert code == 1
    assert "signed with sha1, which Go refuses" in out


def test_a_file_with_certificate_and_key_as_kubelets_have(pki, made, tmp_path):
    both = tmp_path / "kubelet-client-current.pem"
    both.write_bytes((made / "agent.crt").read_bytes() + (made / "agent.key").read_bytes())
    assert pki("--check", str(both), f"--ca-cert={made / 'ca.crt'}", directory=False)[0] == 0
    both.write_bytes((made / "agent.crt").read_bytes() + (made / "client.key").read_bytes())
    assert pki("--check", str(both), f"--ca-cert={made / 'ca.crt'}", directory=False)[0] == 1
