"""Forward proxy, SOCKS5 and HTTP, of programs of the control plane, for connections through the tunnel.

`konnectivity forward` is a program of its own; `proxy-server` has the same listeners.

forward_main, forward_app, forward_options    the program: entry point, wiring, options
hypershift_main, hypershift_options           the same program by the names and flags of HyperShift's proxies
client_listeners, listener_options            where clients connect, in both programs, and its options
client_session, http_session                   one client's connection, from the first byte to the end
socks5, proxy_requests, proxied_exchange      the protocols of clients, bytes in and bytes out (pure)
forward_command                               its line in the list of commands of the tool
failure_answers                               what a client is told about a failed dial (pure)
proxy_credentials, password_guesses           users and passwords, from a file, and the limit on wrong ones
names                                         where the name of a destination is resolved
upstream_servers                              the proxy servers, of which one answers a dial
"""
