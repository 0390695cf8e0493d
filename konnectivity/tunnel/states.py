"""State tables of a connection, one for each dialect, and the cause that each input gives to its end. Pure data.

Which packets say "end", "stop" and "reset" depends on the dialect: the extension of docs/internals/protocol.md, or the
reference protocol, which has no half-close. An input without a row breaks the dialect's rules. DATA and CREDIT change
no state.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.Enum):
    """State of a connection at one end of a tunnel."""

    __hash__ = object.__hash__  # Enum's own hash is a call of a Python function at each look-up

    OPEN = "open"
    SENT_END = "sent end"  # our direction is complete
    RCVD_END = "received end"  # the peer's direction is complete
    CLOSING = "closing"  # reference protocol: CLOSE_REQ sent, CLOSE_RSP awaited
    CLOSED = "closed"


class Input(enum.Enum):
    """Event that can change a connection's state."""

    __hash__ = object.__hash__

    LOCAL_END = "local end"  # the local side ended its output, and all of it is sent
    LOCAL_GONE = "local gone"  # the local side ended its output and takes no more input
    LOCAL_LOST = "local lost"  # the local side broke before it ended its output
    PEER_END = "peer end"
    PEER_STOP = "peer stop"
    PEER_CLOSE = "peer close"  # reference protocol: both directions at once
    PEER_RESET = "peer reset"
    TUNNEL_LOST = "tunnel lost"
    VIOLATION = "violation"
    EXPIRED = "expired"


class Action(enum.Enum):
    """Step of a transition, named after the method of `Connection` that takes it."""

    __hash__ = object.__hash__

    SEND_END = "_send_end"
    SEND_STOP = "_send_stop"
    SEND_RESET = "_send_reset"
    SEND_CLOSE = "_send_close"
    AWAIT_ANSWER = "_await_answer"
    AWAIT_CLOSE = "_await_close"
    DROP_QUEUE = "_drop_queue"
    END_LOCAL = "_end_local"
    CLOSE_LOCAL = "_close_local"
    ABORT_LOCAL = "_abort_local"


_CAUSES = {
    Input.PEER_RESET: "reset",
    Input.LOCAL_LOST: "reset",
    Input.TUNNEL_LOST: "tunnel_lost",
    Input.VIOLATION: "violation",
    Input.EXPIRED: "timeout",
}
CAUSES = ("end", *dict.fromkeys(_CAUSES.values()), "budget")  # values of `Connection.cause`


def cause_of(event: Input) -> str:
    """Return the cause, for metrics, of an end that `event` led to."""
    return _CAUSES.get(event, "end")


Table = Mapping[tuple[State, Input], tuple[State, tuple[Action, ...]]]

_O, _S, _R, _C = State.OPEN, State.SENT_END, State.RCVD_END, State.CLOSED
_A, _I = Action, Input

_ALWAYS: Table = {
    (state, event): (State.CLOSED, actions)
    for state in (State.OPEN, State.SENT_END, State.RCVD_END, State.CLOSING)
    for event, actions in {
        Input.PEER_RESET: (Action.ABORT_LOCAL,),
        Input.TUNNEL_LOST: (Action.ABORT_LOCAL,),
        Input.VIOLATION: (Action.SEND_RESET, Action.ABORT_LOCAL),
        Input.EXPIRED: (Action.SEND_RESET, Action.ABORT_LOCAL),
    }.items()
}

EXTENDED: Table = {
    **_ALWAYS,
    (_O, _I.LOCAL_END): (_S, (_A.SEND_END,)),
    (_R, _I.LOCAL_END): (_C, (_A.SEND_END, _A.CLOSE_LOCAL)),
    (_O, _I.LOCAL_GONE): (_O, (_A.SEND_STOP,)),  # LOCAL_END follows when the queue is out
    (_S, _I.LOCAL_GONE): (_S, (_A.SEND_STOP,)),
    (_R, _I.LOCAL_GONE): (_R, ()),
    (_O, _I.LOCAL_LOST): (_C, (_A.SEND_RESET,)),
    (_S, _I.LOCAL_LOST): (_S, (_A.SEND_STOP,)),  # the outbound direction was complete: it is spared
    (_R, _I.LOCAL_LOST): (_C, (_A.SEND_RESET,)),
    (_O, _I.PEER_END): (_R, (_A.END_LOCAL,)),
    (_S, _I.PEER_END): (_C, (_A.CLOSE_LOCAL,)),
    (_R, _I.PEER_END): (_C, (_A.SEND_RESET, _A.ABORT_LOCAL)),  # twice: a violation
    (_O, _I.PEER_STOP): (_S, (_A.DROP_QUEUE, _A.SEND_END)),
    (_S, _I.PEER_STOP): (_S, ()),  # crossed with DATA_END of this side
    (_R, _I.PEER_STOP): (_C, (_A.DROP_QUEUE, _A.SEND_END, _A.CLOSE_LOCAL)),
}

# The reference protocol, towards the side that dials: it sends CLOSE_REQ, we send CLOSE_RSP.
REFERENCE_SERVING: Table = {
    **_ALWAYS,
    (_O, _I.LOCAL_END): (_C, (_A.SEND_CLOSE, _A.CLOSE_LOCAL)),
    (_O, _I.LOCAL_GONE): (_O, ()),
    (_O, _I.LOCAL_LOST): (_C, (_A.SEND_RESET,)),
    (_O, _I.PEER_CLOSE): (_C, (_A.DROP_QUEUE, _A.SEND_CLOSE, _A.CLOSE_LOCAL)),
}

# The reference protocol, towards the side that serves: we send CLOSE_REQ, it sends CLOSE_RSP.
REFERENCE_DIALING: Table = {
    **_ALWAYS,
    (_O, _I.LOCAL_END): (_S, (_A.AWAIT_ANSWER,)),
    (_O, _I.LOCAL_GONE): (_O, ()),
    (_S, _I.LOCAL_GONE): (_S, (_A.AWAIT_ANSWER,)),
    (_O, _I.LOCAL_LOST): (_C, (_A.SEND_CLOSE,)),
    (_S, _I.LOCAL_LOST): (_S, (_A.AWAIT_ANSWER,)),
    (_S, _I.EXPIRED): (State.CLOSING, (_A.SEND_CLOSE, _A.AWAIT_CLOSE)),
    (State.CLOSING, _I.LOCAL_GONE): (State.CLOSING, ()),
    (State.CLOSING, _I.LOCAL_LOST): (State.CLOSING, ()),
    (State.CLOSING, _I.EXPIRED): (_C, (_A.CLOSE_LOCAL,)),
    (_O, _I.PEER_CLOSE): (_C, (_A.CLOSE_LOCAL,)),
    (_S, _I.PEER_CLOSE): (_C, (_A.CLOSE_LOCAL,)),
    (State.CLOSING, _I.PEER_CLOSE): (_C, (_A.CLOSE_LOCAL,)),
}
