"""Tools for a server of many tenants.

tenants_command    `konnectivity tenants`: lists the tenants of a running server
"""
