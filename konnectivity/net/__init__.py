"""Sockets as everything else uses them: outgoing TCP connections, and words for what goes wrong with one."""
