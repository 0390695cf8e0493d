"""Use of the Kubernetes API by one tenant: token reviews, verified claims of agents, and the lease of the server.

Owns the client, and makes no request itself. Nothing here is imported, and no client made, for a tenant without one of
these. Does not know agents or dials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from konnectivity import kube
from konnectivity.runtime import logs
from konnectivity_server.agents import credential_identity
from konnectivity_server.agents.claim_verification import ClaimVerifier
from konnectivity_server.peers.server_set import ServerSet
from konnectivity_server.server_options import ServerOptions
from konnectivity_server.tenants.tenant_parts import TenantParts

if TYPE_CHECKING:
    from konnectivity.kube.api_client import KubeClient
    from konnectivity_server.agents.token_authentication import TokenAuthenticator
    from konnectivity_server.peers.server_lease import ServerLease

log = logs.get(__name__)


class TenantKubernetes:
    """Kubernetes API of one tenant, and the parts of the tenant that ask it.

    Attributes:
        client: client that has asked nothing yet: the API may start later than the server; None: nothing asks the API.
        authenticator: reviews the agents' tokens; None: agents show none.
        verifier: verifies the agents' claims; None: agents may claim anything.
        lease: lease of the server; None: the server has none.

    Args:
        options: options of the tenant.
        parts: parts of the process.
        servers: servers of the tenant, which are counted by their leases.

    Raises:
        KubeError: there is no access to the Kubernetes API, or its extra is not installed.

    """

    def __init__(self, options: ServerOptions, parts: TenantParts, servers: ServerSet) -> None:
        self._options = options
        self._parts = parts
        self.client: KubeClient | None = None
        if options.needs_kubernetes:
            self.client = kube.connect(options.kubeconfig, options.kubeconfig_qps, options.kubeconfig_burst)
        self.authenticator = self._token_authenticator()
        self.verifier = self._claim_verifier()
        self.lease = self._server_lease(servers)

    def _token_authenticator(self) -> TokenAuthenticator | None:
        options, parts = self._options, self._parts
        if self.client is None or not options.reviews_tokens:
            return None
        from konnectivity_server.agents.token_authentication import TokenAuthenticator

        account = (options.agent_namespace, options.agent_service_account)
        log.info("Agents show tokens", account=":".join(account), api=self.client.server)
        return TokenAuthenticator(
            self.client, parts.tasks, *account, options.authentication_audience, parts.limits.reached
        )

    def _claim_verifier(self) -> ClaimVerifier | None:
        mode = self._options.agent_identity
        if mode == credential_identity.CERTIFICATE:
            return ClaimVerifier(mode)
        return ClaimVerifier(mode, self.client) if mode == credential_identity.TOKEN else None

    def _server_lease(self, servers: ServerSet) -> ServerLease | None:
        options = self._options
        if self.client is None or not options.enable_lease_controller:
            return None
        from konnectivity.kube.labels import parse_labels
        from konnectivity_server.peers.server_lease import ServerLease

        servers.count_leases(self.client)
        labels = parse_labels(options.lease_label)
        return ServerLease(self.client, self._parts.server_id, options.lease_namespace, labels)
