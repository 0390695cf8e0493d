"""Tenants: the clusters that one server serves, each with its own agents, frontends, credentials and limits.

tenancy           the interface of one_tenant and many_tenants to the process
tenant            what serves one cluster, from its options to an orderly end, with tenant_parts of the process and its
                  tenant_kubernetes; a server without --tenants has one
tenant_directory  the files of --tenants, read with tenant_options and tenant_tls; directory_check judges them all
tenant_claims     what only one tenant may have (pure); server_names finds the tenant that a client means (pure)
tenant_set        the tenants that are served (served_tenant, tenant_state, tenant_end), and their changes
tenant_ports      health and admin ports of many tenants; tenant_metrics has their metrics
"""
