"""Certificates for the ends of a tunnel: issues them, and checks existing ones.

key_types            names of kinds of keys; private_keys generates them
authority            a certificate authority
roles                which program shows which certificate to which
issuance             from a request to certificates and their files; tls_secrets makes Kubernetes Secrets of them
certificate_parsing  certificates and keys from files
certificate_check    faults of a certificate, its key and its chain (chains), by the rules of Go and OpenSSL

The running server and agent use nothing of this package.
"""
