------------------------------ MODULE ExtendedTable ------------------------------
\* `make docs` generates this module from EXTENDED in konnectivity/tunnel/states.py.
EXTENDS TLC

Table ==
    (<<"open", "peer reset">> :> [to |-> "closed", actions |-> <<"ABORT_LOCAL">>]) @@
    (<<"open", "tunnel lost">> :> [to |-> "closed", actions |-> <<"ABORT_LOCAL">>]) @@
    (<<"open", "violation">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"open", "expired">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"sent end", "peer reset">> :> [to |-> "closed", actions |-> <<"ABORT_LOCAL">>]) @@
    (<<"sent end", "tunnel lost">> :> [to |-> "closed", actions |-> <<"ABORT_LOCAL">>]) @@
    (<<"sent end", "violation">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"sent end", "expired">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"received end", "peer reset">> :> [to |-> "closed", actions |-> <<"ABORT_LOCAL">>]) @@
    (<<"received end", "tunnel lost">> :> [to |-> "closed", actions |-> <<"ABORT_LOCAL">>]) @@
    (<<"received end", "violation">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"received end", "expired">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"open", "local end">> :> [to |-> "sent end", actions |-> <<"SEND_END">>]) @@
    (<<"received end", "local end">> :> [to |-> "closed", actions |-> <<"SEND_END", "CLOSE_LOCAL">>]) @@
    (<<"open", "local gone">> :> [to |-> "open", actions |-> <<"SEND_STOP">>]) @@
    (<<"sent end", "local gone">> :> [to |-> "sent end", actions |-> <<"SEND_STOP">>]) @@
    (<<"received end", "local gone">> :> [to |-> "received end", actions |-> <<>>]) @@
    (<<"open", "local lost">> :> [to |-> "closed", actions |-> <<"SEND_RESET">>]) @@
    (<<"sent end", "local lost">> :> [to |-> "sent end", actions |-> <<"SEND_STOP">>]) @@
    (<<"received end", "local lost">> :> [to |-> "closed", actions |-> <<"SEND_RESET">>]) @@
    (<<"open", "peer end">> :> [to |-> "received end", actions |-> <<"END_LOCAL">>]) @@
    (<<"sent end", "peer end">> :> [to |-> "closed", actions |-> <<"CLOSE_LOCAL">>]) @@
    (<<"received end", "peer end">> :> [to |-> "closed", actions |-> <<"SEND_RESET", "ABORT_LOCAL">>]) @@
    (<<"open", "peer stop">> :> [to |-> "sent end", actions |-> <<"DROP_QUEUE", "SEND_END">>]) @@
    (<<"sent end", "peer stop">> :> [to |-> "sent end", actions |-> <<>>]) @@
    (<<"received end", "peer stop">> :> [to |-> "closed", actions |-> <<"DROP_QUEUE", "SEND_END", "CLOSE_LOCAL">>])
==================================================================================
