"""Other servers of the same set: tunnels to and from them, and the leases by which agents count them."""
