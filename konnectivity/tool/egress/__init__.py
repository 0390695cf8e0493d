"""kube-apiserver's EgressSelectorConfiguration, the file of --egress-selector-config-file.

egress_writer        writes a configuration
egress_document      reads one as strictly as kube-apiserver, with line numbers
egress_rules         kube-apiserver's rules, and accepted settings that do not work
egress_certificates  the certificates that a configuration names
server_match         comparison with the arguments of a proxy server
"""
