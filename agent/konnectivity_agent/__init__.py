"""The proxy agent: dials out to every server, holds one stream open to each, and opens the connections they ask for.

server_pool         tunnels to all servers; pool_plan decides what to dial, and when (pure)
server_connection   one connection to one server
dial_queue          dials that wait, a queue for each server
dialer              one target: name, addresses, deadline; destination_policy says which are allowed (pure)
resolver            look-ups in threads; name_probe and name_servers keep one slow name from delaying others
agent_ports         health and admin ports; agent_metrics is what Prometheus scrapes
agent_app           everything wired together; agent_main is the entry point, agent_options the declarations
"""
