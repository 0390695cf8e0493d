"""Names of destinations of `konnectivity forward`: where each is resolved, and the dial of what was found.

name_settings, resolver_setup       settings of names, and the resolvers that they ask for
name_rules, name_resolution         rules by suffix, and what they lead to
cluster_dns, dns_messages           DNS of the cluster, by TCP through the tunnel
dns_listener                        DNS for programs that resolve names themselves
service_addresses, direct_dial      addresses by the Kubernetes API, and dials that do not use the tunnel
outbound_proxy                      HTTP proxy behind the tunnel
"""
