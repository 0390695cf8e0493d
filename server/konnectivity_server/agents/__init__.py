"""Agents of a server: their streams, what they say of themselves, and the proof of it.

`agent_service` owns an agent's stream. `token_authentication` reviews its token, `claim_verification` compares its
identifiers with its credential.
"""
