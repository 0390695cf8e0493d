"""Kinds of private keys, by kubeadm's names."""

KEY_TYPES = ("ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096")
DEFAULT = KEY_TYPES[0]
