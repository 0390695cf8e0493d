"""Agents of a server: their streams, their identifiers, and the proof of who they are.

`agent_service` admits an agent's stream, `agent_introduction` reads its headers, `agent_tunnel` is the tunnel to it.
`token_authentication` has its token reviewed, `claim_verification` compares its identifiers with its credential.
"""
