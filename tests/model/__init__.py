"""TLA+ models of one connection and of one dial, and the check of all their states."""
