"""Tenants: the clusters that one server serves, each with its own agents, frontends, credentials and limits.

tenant         the parts of one tenant, from its options to an orderly end; a server without --tenants has one
"""
