"""The Kubernetes API, as far as the two programs need it: token reviews and leases.

`connect` gives a client. All of it that needs the extra `konnectivity[kubernetes]` is imported there and not before:
a program that does not talk to Kubernetes does not pay for it. `labels`, `lease` and `bucket` are pure.
"""

from __future__ import annotations
