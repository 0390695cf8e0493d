"""Certificates for the ends of a tunnel: makes them, and checks those that there are.

    key_types   the names of kinds of keys; keys makes them
    authority   a certificate authority that issues certificates
    roles       what the certificates are for: who shows which, and to whom
    making      from what is asked for to certificates and their files
    secrets     the same as Kubernetes Secrets
    reading     certificates and keys from files, by the rules of Go and OpenSSL
    check       what is wrong with a certificate, its key and its chain

The running server and agent use none of it.
"""
