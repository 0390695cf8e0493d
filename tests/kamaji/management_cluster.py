"""Management cluster of Kamaji: etcd, kube-apiserver, and Kamaji's manager with its CRDs and webhooks.

Owns these processes and their files. There are no other controllers: the tests do the work of a cloud, which assigns
addresses to Services, and of a Deployment controller.
"""

from __future__ import annotations

import base64
import itertools
import subprocess
from pathlib import Path

import yaml
from cluster_client import ClusterClient, Object, write_kubeconfig
from namespaces import HUB, Namespaces

from konnectivity.testing.deployment import ProgramProcess
from konnectivity.tool.pki import private_keys
from konnectivity.tool.pki.authority import Authority
from support.checkout import ROOT
from support.cluster_programs import KUBE
from support.waiting import until

CACHE = ROOT / ".cache"
START_TIMEOUT_S = 90.0
TENANTS = "tenants"  # namespace of the tenant control planes
SYSTEM = "kamaji-system"
_API = "https://127.0.0.1:6444"


class ManagementCluster:
    """Processes of the management cluster, in the hub of `namespaces`."""

    def __init__(self, directory: Path, namespaces: Namespaces) -> None:
        self.directory = directory
        self.namespaces = namespaces
        self.authority = Authority.create("management")
        self.client = self.client_with(directory / "management.kubeconfig")
        self._processes: list[ProgramProcess] = []
        self._numbers = itertools.count()
        self._etcd_authority = Authority.create("etcd", key_type="RSA-2048")  # Kamaji signs with this key

    def path(self, name: str) -> Path:
        return self.directory / name

    def client_with(self, kubeconfig: Path) -> ClusterClient:
        within = self.namespaces.within(self.namespaces.hub)
        return ClusterClient([*within, str(KUBE), "kubectl", f"--kubeconfig={kubeconfig}"])

    def start(self) -> None:
        """Start all programs, and return when tenant control planes can be created."""
        self._write_certificates()
        self._start_etcd()
        self._start_apiserver()
        self._install_crds()
        for name in (SYSTEM, TENANTS):
            self.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self._add_datastore()
        self._start_manager()
        self.client.apply(*self._webhooks())
        until(self._datastore_is_ready, lambda: f"the DataStore is ready:\n{self.manager.log[-3000:]}")

    def run(
        self, program: Path | str, *arguments: str, ready: str = "", namespace: str = "", **environment: str
    ) -> ProgramProcess:
        """Start a program in a namespace, the hub by default, and wait for a text in its log."""
        within = self.namespaces.within(namespace or self.namespaces.hub)
        log = self.path(f"{next(self._numbers):02}-{Path(program).name}.log")
        variables = ["env", *(f"{name}={value}" for name, value in environment.items())]
        process = ProgramProcess(within[0], [*within[1:], *variables, str(program), *arguments], log)
        self._processes.append(process)
        process.wait_for(ready, timeout_s=START_TIMEOUT_S)
        return process

    def stop(self) -> None:
        for each in reversed(self._processes):
            each.stop()

    def _write_certificates(self) -> None:
        self.authority.write(self.directory)
        etcd = self.path("etcd")
        etcd.mkdir()
        self._etcd_authority.write(etcd)
        (etcd / "ca.key").write_bytes(private_keys.to_pem(self._etcd_authority.key))
        self._etcd_authority.issue("etcd", dns=("localhost",), ips=("127.0.0.1", HUB), server=True, client=True).write(
            etcd, "server"
        )
        self._etcd_authority.issue("root", organization="system:masters", client=True).write(etcd, "root")
        self.authority.issue("kube-apiserver", ips=("127.0.0.1",), server=True).write(self.directory, "apiserver")
        _, key = self.authority.issue("service-accounts", client=True).write(self.directory, "accounts")
        public = subprocess.run(
            ["openssl", "pkey", "-in", str(key), "-pubout"], check=True, timeout=10, capture_output=True
        )
        self.path("accounts.pub").write_bytes(public.stdout)
        self.path("tokens.csv").write_text("admin-token,admin,1,system:masters\n")
        write_kubeconfig(self.path("management.kubeconfig"), _API, self.path("ca.crt"), "admin-token")

    def _start_etcd(self) -> None:
        etcd = self.path("etcd")
        self.run(
            KUBE,
            "etcd",
            f"--data-dir={etcd / 'data'}",
            "--unsafe-no-fsync",
            "--log-level=info",
            f"--listen-client-urls=https://127.0.0.1:2379,https://{HUB}:2379",
            "--advertise-client-urls=https://127.0.0.1:2379",
            f"--cert-file={etcd / 'server.crt'}",
            f"--key-file={etcd / 'server.key'}",
            "--client-cert-auth",
            f"--trusted-ca-file={etcd / 'ca.crt'}",
            ready="ready to serve client requests",
        )

    def _start_apiserver(self) -> None:
        etcd = self.path("etcd")
        self.run(
            KUBE,
            "kube-apiserver",
            "--etcd-servers=https://127.0.0.1:2379",
            f"--etcd-cafile={etcd / 'ca.crt'}",
            f"--etcd-certfile={etcd / 'root.crt'}",
            f"--etcd-keyfile={etcd / 'root.key'}",
            "--etcd-prefix=/management",
            "--bind-address=127.0.0.1",
            "--secure-port=6444",
            f"--advertise-address={HUB}",
            f"--tls-cert-file={self.path('apiserver.crt')}",
            f"--tls-private-key-file={self.path('apiserver.key')}",
            f"--token-auth-file={self.path('tokens.csv')}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://management",
            f"--service-account-key-file={self.path('accounts.pub')}",
            f"--service-account-signing-key-file={self.path('accounts.key')}",
            ready="Serving securely",
        )
        until(self.client.ready, "the management API is ready")

    def _install_crds(self) -> None:
        """Install the CRDs of Kamaji's source, and those of the Gateway API's Go module."""
        script = ROOT / "tests" / "cluster" / "gateway_crds.sh"
        gateway = Path(
            subprocess.run(["sh", str(script)], check=True, timeout=120, capture_output=True).stdout.decode().strip()
        )
        files = [*(CACHE / "kamaji" / "crds").glob("*.yaml"), *(gateway / "standard").glob("gateway.*.yaml")]
        assert len(files) > 5
        self.client.ok("apply", "--server-side", *(f"--filename={each}" for each in sorted(files)))
        self.client.ok("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def _add_datastore(self) -> None:
        files = {"ca.crt": "ca.crt", "ca.key": "ca.key", "tls.crt": "root.crt", "tls.key": "root.key"}
        data = {key: _base64(self.path("etcd") / name) for key, name in files.items()}

        def key_of(key: str) -> Object:
            return {"secretReference": {"name": "etcd-certs", "namespace": SYSTEM, "keyPath": key}}

        tls = {
            "certificateAuthority": {"certificate": key_of("ca.crt"), "privateKey": key_of("ca.key")},
            "clientCertificate": {"certificate": key_of("tls.crt"), "privateKey": key_of("tls.key")},
        }
        self.client.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "etcd-certs", "namespace": SYSTEM},
                "data": data,
            },
            {
                "apiVersion": "kamaji.clastix.io/v1alpha1",
                "kind": "DataStore",
                "metadata": {"name": "default"},
                "spec": {"driver": "etcd", "endpoints": [f"{HUB}:2379"], "tlsConfig": tls},
            },
        )

    def _datastore_is_ready(self) -> bool:
        return bool(self.client.there(SYSTEM, "datastore", "default").get("status", {}).get("ready"))

    def _start_manager(self) -> None:
        files = self.path("tmp") / "k8s-webhook-server" / "serving-certs"
        files.mkdir(parents=True)
        self.authority.issue("webhook", ips=("127.0.0.1",), server=True).write(files, "tls")
        self.authority.write(files)
        self.manager = self.run(
            CACHE / "bin" / "kamaji",
            "manager",
            f"--pod-namespace={SYSTEM}",
            "--serviceaccount-name=kamaji",
            "--datastore=default",
            "--disable-telemetry",
            "--leader-elect=false",
            "--max-concurrent-tcp-reconciles=4",
            f"--tmp-directory={self.path('tmp')}",
            f"--webhook-ca-path={files / 'ca.crt'}",
            "--kine-image=none:1",
            "--migrate-image=none:1",
            ready="Serving webhook server",
            KUBECONFIG=str(self.path("management.kubeconfig")),
            TMPDIR=str(self.path("tmp")),
        )

    def _webhooks(self) -> list[Object]:
        """Return the webhooks of Kamaji's source, called by URL since no Service exists here."""
        bundle = base64.b64encode(self.authority.certificate_pem).decode()
        made = []
        for kind, name in (
            ("ValidatingWebhookConfiguration", "validating"),
            ("MutatingWebhookConfiguration", "mutating"),
        ):
            hooks = yaml.safe_load((CACHE / "kamaji" / f"{name}-webhook.yaml").read_text())
            hooks = [each for each in hooks if not each["name"].startswith("telemetry")]
            for each in hooks:
                path = each["clientConfig"]["service"]["path"]
                each["clientConfig"] = {"url": f"https://127.0.0.1:9443{path}", "caBundle": bundle}
            head = {"name": f"kamaji-{name}"}
            made.append(
                {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": head, "webhooks": hooks}
            )
        return made


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
