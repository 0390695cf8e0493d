"""Options of HyperShift's proxies, konnectivity-socks5-proxy and konnectivity-https-proxy, as those of this program.

Owns the flags of both and what each means here. A flag without a meaning here is accepted and says why.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass

from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.http1 import forward_proxy
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import existing_file, option
from konnectivity.runtime.options import port as port_number
from konnectivity.untrusted.numbers import MAX_PORT

CLOUD_APIS = (  # suffixes of names that --connect-directly-to-cloud-apis is about
    "amazonaws.com",
    "c2s.ic.gov",
    "hci.ic.gov",
    "sc2s.sgov.gov",
    "microsoftonline.com",
    "azure.com",
    "cloud.ibm.com",
)
CLUSTER_DNS = "dns-default.openshift-dns"  # Service of the hosted cluster's DNS
_PKI = "/etc/konnectivity"


@dataclass(frozen=True, init=False, repr=False, eq=False)
class HypershiftOptions(LogOptions, ABC):
    """Options that both proxies have."""

    konnectivity_hostname: str = option(
        "konnectivity-server-local",
        group="Proxy server",
        metavar="host",
        help="Host of the proxy server's TCP frontend.",
    )
    konnectivity_port: int = option(8090, check=port_number(1, MAX_PORT), help="TCP port of the frontend.")
    ca_cert_path: str = option(
        f"{_PKI}/proxy-ca/ca.crt", check=existing_file, metavar="file", help="CA certificate file for the server."
    )
    tls_cert_path: str = option(
        f"{_PKI}/proxy-client/tls.crt", check=existing_file, metavar="file", help="Client certificate file."
    )
    tls_key_path: str = option(
        f"{_PKI}/proxy-client/tls.key", check=existing_file, metavar="file", help="Private key file of --tls-cert-path."
    )
    serving_port: int = option(
        8090,
        group="Clients",
        check=port_number(1, MAX_PORT),
        help="TCP port of the proxy, on loopback, for SOCKS5 and HTTP.",
    )
    connect_directly_to_cloud_apis: bool = option(
        False,
        group="Names",
        help="Dial APIs of AWS, Azure and IBM Cloud from this machine, not through the tunnel; HTTPS_PROXY applies.",
    )
    prefer_ipv4: bool = option(False, instead="IPv4 addresses of a name are always dialled first")

    @abstractmethod
    def ways(self) -> str:
        """Return the ways in which names are resolved."""

    def forward_options(self) -> ForwardOptions:
        """Return the options of `konnectivity forward` that mean the same."""
        ways = self.ways()
        rules = [f"*={ways}"]
        if self.connect_directly_to_cloud_apis:
            rules += [f"{suffix}=direct" for suffix in CLOUD_APIS]
        log = {name: getattr(self, name) for name in LogOptions.__dataclass_fields__ if name in self.sources}
        return ForwardOptions(
            server=(f"{self.konnectivity_hostname}:{self.konnectivity_port}",),
            ca_cert=self.ca_cert_path,
            cert=self.tls_cert_path,
            key=self.tls_key_path,
            port=self.serving_port,
            resolve=tuple(rules),
            cluster_dns=(CLUSTER_DNS,) if "cluster-dns" in ways else (),
            kubeconfig=os.environ.get("KUBECONFIG", ""),
            **log,
            **self.outbound(),
        )

    def outbound(self) -> dict[str, object]:
        """Return the options about a proxy behind the tunnel."""
        return {}


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Socks5ProxyOptions(HypershiftOptions):
    """Options of konnectivity-socks5-proxy."""

    resolve_from_guest_cluster_dns: bool = option(
        False, group="Names", help="Resolve names that are no Service by the hosted cluster's DNS."
    )
    resolve_from_management_cluster_dns: bool = option(
        False, help="Dial names from this machine that the hosted cluster's DNS does not resolve."
    )
    disable_resolver: bool = option(False, help="Leave all names to the agents.")

    def ways(self) -> str:
        if self.disable_resolver:
            return "agent"
        if not self.resolve_from_guest_cluster_dns:
            return "kubernetes+local"
        return "kubernetes+cluster-dns" + ("+direct" if self.resolve_from_management_cluster_dns else "")


@dataclass(frozen=True, init=False, repr=False, eq=False)
class HttpsProxyOptions(HypershiftOptions):
    """Options of konnectivity-https-proxy."""

    http_proxy: str = option(
        "", group="Proxy behind the tunnel", metavar="url", help="URL of an HTTP proxy (empty = that of --https-proxy)."
    )
    https_proxy: str = option(
        "", metavar="url", help="URL of the HTTP proxy of the data plane (empty = that of --http-proxy, or no proxy)."
    )
    no_proxy: str = option(
        "", metavar="destinations", help="Comma-separated destinations that are dialled without a proxy (empty = none)."
    )

    def ways(self) -> str:
        return "kubernetes+cluster-dns"

    def outbound(self) -> dict[str, object]:
        without = tuple(filter(None, (each.strip() for each in self.no_proxy.split(","))))
        return {"outbound_proxy": self.https_proxy or self.http_proxy, "outbound_no_proxy": without}

    def problems(self) -> list[str]:
        found = super().problems()
        for name, url in (("--http-proxy", self.http_proxy), ("--https-proxy", self.https_proxy)):
            try:
                forward_proxy.choose({"https_proxy": url}, "proxy.invalid", 443)
            except ValueError as error:
                found.append(f"{name}{str(error).removeprefix('https_proxy')}")
        if self.http_proxy and self.https_proxy and self.http_proxy != self.https_proxy:
            found.append(
                "--http-proxy differs from --https-proxy: one proxy serves all destinations here; set one of both"
            )
        return found
