"""Kubernetes objects for server and agent: settings in, plain dictionaries out. Pure: no file, no network, no clock.

    names       what things are called, and the ports
    arguments   a program's arguments from flags and what is added to them
    hardening   security contexts, probes, resources
    agent       the agent's workload, service account, disruption budget
    server      the server as a static pod
    sidecar     the server beside a kube-apiserver
    apiserver   what kube-apiserver needs for it
    rbac, service, gateway
    tenant      reads a Kamaji TenantControlPlane
    kamaji      what Kamaji makes of one, and what is left of it
    removal     what to delete

The programs' options are not known here (they depend on this package); tests start the programs with what comes out.
"""
