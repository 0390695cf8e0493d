"""Proxy agent: one tunnel to every proxy server, and the connections to targets that servers ask for.

server_pool         tunnels to all servers; pool_plan decides what to dial and when, server_count how many there are
                    (both pure); server_lookup looks their addresses up
server_connection   connection to one server; server_greeting is what both say first
dial_queue          dials that wait, a queue for each server
dialer              one dial: name, addresses, deadline; destination_policy says which targets are allowed (pure)
resolver            lookups in threads; name_probe and name_servers keep one slow name from delaying others
agent_ports         health and admin ports; agent_metrics is what Prometheus scrapes
agent_app           wires the objects together; agent_main is the entry point, agent_options the declarations
"""
