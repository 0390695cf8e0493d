"""Support shared by tests and benchmarks: faulty networks, hostile peers, a Kubernetes API, a browser. In no wheel."""
