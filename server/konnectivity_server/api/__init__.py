"""Health and admin ports of a server: JSON about agents, connections and recent problems. Reads, changes nothing."""
