"""Deterministic simulation of servers, agents, clients, targets and the network between them, in one process.

machine            the clock, chance and sockets that replace those of this computer, before the product is imported
virtual_loop       event loop with a virtual clock and simulated processes; network and its parts: the TCP between them
programs           the real server and agent, clients and targets, as simulated processes
plan               the operations and faults that a seed stands for; operations carries them out
invariants         what must hold at every moment, and after quiet has returned
explore, shrinker  many seeds; the shortest plan that still fails
"""
