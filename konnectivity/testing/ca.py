"""A throwaway certificate authority, for tests and the demo: `konnectivity.pki`'s, whose key nobody writes.

Nothing can be issued once the process has ended.
"""

from konnectivity.pki.authority import Authority, Identity

__all__ = ["Authority", "Identity"]
