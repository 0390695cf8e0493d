"""Kubernetes objects for server and agent: settings in, plain dictionaries out. Pure: no file, no network, no clock.

object_names          names and ports
extra_arguments       arguments of a program, with a person's additions
hardening             security contexts, probes, resources
agent_objects         the agent's workload, service account, disruption budget
server_pod            the server as a static pod
sidecar               the server beside a kube-apiserver; apiserver_patch is what that kube-apiserver needs
rbac, agent_service_object, gateway, toleration
gateway_objects       the server of many clusters; gateway_tenant is one of them
gateway_move          patches of a TenantControlPlane that move it to that server and back
tenant_control_plane  reads a Kamaji TenantControlPlane
kamaji                the objects that Kamaji creates for it
removal               objects to delete

The programs' options are not known here; tests start the programs with the arguments of these objects.
"""
