"""`konnectivity forward`: SOCKS5 and HTTP proxy of programs of the control plane, for connections through the tunnel.

forward_main, forward_app, forward_options    the program: entry point, wiring, options
client_session, byte_pump                     one client's connection, from the first byte to the end
socks5, proxy_requests, proxied_exchange      the protocols of clients, bytes in and bytes out (pure)
forward_command                               its line in the list of commands of the tool
failure_answers                               what a client is told about a failed dial (pure)
proxy_credentials                             users and passwords, from a file
name_rules, name_resolution                   where the name of a destination is resolved, and its dial
cluster_dns, dns_messages, dns_listener       DNS through the tunnel, and for programs that resolve names themselves
service_addresses, direct_dial                addresses by the Kubernetes API, and dials that do not use the tunnel
upstream_servers                              the proxy servers, of which one answers a dial
"""
