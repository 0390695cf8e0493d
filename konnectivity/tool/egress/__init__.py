"""kube-apiserver's EgressSelectorConfiguration, the file of --egress-selector-config-file.

configuration   writes one
document        reads one as strictly as kube-apiserver does, and remembers the lines
rules           what kube-apiserver accepts, and what then does not work all the same
files           the certificates that it names
server          whether it fits the arguments of a proxy server
"""
