"""Parts that tests and benchmarks share: faulty lines, hostile peers, a Kubernetes API, a browser. In no wheel."""
