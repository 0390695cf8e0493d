"""Budgets of the native gRPC transport: memory and event-loop time that one peer, or all peers together, may use.

`header_budget` and `send_budget` bound bytes, `message_memory` and `call_memory` the memory of incomplete messages;
`reading_pause` and `read_scheduler` bound the time spent on reading.
"""
