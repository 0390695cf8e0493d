"""Metrics: plain counters that the data path updates, and the families and text that Prometheus reads from them."""
