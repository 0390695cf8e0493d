---------------------------------- MODULE Dial ----------------------------------
(* One pending dial of a server, which asks one agent after the other, over tunnels that break and are made again.

   An agent that notices a lost tunnel makes a new one, maybe before the server notices the loss. The packets of two
   tunnels never mix: each tunnel has its own streams, dials and connections. The number of a try is the random number of
   its DIAL_REQ, and the id of the connection that the agent opens for it. What a connection does once it is open is in
   module Connection. *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS Tunnels,  \* tunnels, in the order in which they can be made
          Up,       \* number of tunnels that stand at first
          Tries     \* agents that a dial is asked of at most

VARIABLES dial,     \* the pending dial, as the server and the frontend see it
          line,     \* "unmade", "up" or "lost", by tunnel
          server,   \* the server's end of each tunnel
          agent,    \* the agent's end of each tunnel
          down, up  \* packets under way to the agent, and to the server, by tunnel

vars == <<dial, line, server, agent, down, up>>

Packet(type, number) == [type |-> type, number |-> number]

Init ==
    /\ dial = [state |-> "new", tries |-> 0, asked |-> 0, told |-> 0]
    /\ line = [t \in Tunnels |-> IF t <= Up THEN "up" ELSE "unmade"]
    /\ server = [t \in Tunnels |-> [open |-> t <= Up, pending |-> {}, connections |-> {}]]
    /\ agent = [t \in Tunnels |-> [open |-> t <= Up, opening |-> {}, targets |-> {}]]
    /\ down = [t \in Tunnels |-> <<>>]
    /\ up = [t \in Tunnels |-> <<>>]

Put(queue, t, packet) == [queue EXCEPT ![t] = IF line[t] = "up" THEN Append(@, packet) ELSE @]

(* ---- the server ----------------------------------------------------------------------------------------------- *)

Live(t) == server[t].open

\* Ask the agent of tunnel t; `before` is what is under way to agents after a withdrawal.
Ask(t, before, ends) ==
    LET number == dial.tries + 1
    IN /\ dial' = [dial EXCEPT !.state = "asked", !.tries = number, !.asked = t]
       /\ server' = [ends EXCEPT ![t].pending = @ \union {number}]
       /\ down' = [before EXCEPT ![t] = IF line[t] = "up" THEN Append(@, Packet("DIAL_REQ", number)) ELSE @]

Fail(before, ends) ==
    /\ dial' = [dial EXCEPT !.state = "failed", !.told = @ + 1]
    /\ server' = ends
    /\ down' = before

Starts ==
    /\ dial.state = "new"
    /\ \/ \E t \in Tunnels : Live(t) /\ Ask(t, down, server)
       \/ (\A t \in Tunnels : ~Live(t)) /\ Fail(down, server)
    /\ UNCHANGED <<line, agent, up>>

\* Ask another agent, or fail if there is none or the dial had its tries.
Retry(before, ends) ==
    \/ \E t \in Tunnels : t # dial.asked /\ ends[t].open /\ dial.tries < Tries /\ Ask(t, before, ends)
    \/ (dial.tries = Tries \/ \A t \in Tunnels : t = dial.asked \/ ~ends[t].open) /\ Fail(before, ends)

Withdrawn == [server EXCEPT ![dial.asked].pending = @ \ {dial.tries}]
Cancelling == Put(down, dial.asked, Packet("DIAL_CLS", dial.tries))

\* The agent has not answered for a while, or no longer answers anything.
GivesUp ==
    /\ dial.state = "asked" /\ dial.tries < Tries
    /\ \E t \in Tunnels : t # dial.asked /\ server[t].open /\ Ask(t, Cancelling, Withdrawn)
    /\ UNCHANGED <<line, agent, up>>

Expires ==
    /\ dial.state = "asked"
    /\ Fail(Cancelling, Withdrawn)
    /\ UNCHANGED <<line, agent, up>>

FrontendLeaves ==
    /\ dial.state = "asked"
    /\ dial' = [dial EXCEPT !.state = "cancelled"]
    /\ server' = Withdrawn /\ down' = Cancelling
    /\ UNCHANGED <<line, agent, up>>

Answered(t, number) ==
    IF number \in server[t].pending
    THEN /\ dial' = [dial EXCEPT !.state = "connected", !.told = @ + 1]
         /\ server' = [server EXCEPT ![t].pending = @ \ {number}, ![t].connections = @ \union {number}]
         /\ down' = down
    ELSE /\ down' = Put(down, t, Packet("RESET", number))
         /\ UNCHANGED <<dial, server>>

Refused(t, number, retry) ==
    LET ends == [server EXCEPT ![t].pending = @ \ {number}]
    IN IF number \notin server[t].pending THEN UNCHANGED <<dial, server, down>>
       ELSE IF retry THEN Retry(down, ends)
       ELSE Fail(down, ends)

ServerReceives(t) ==
    LET packet == Head(up[t])
    IN /\ Live(t) /\ up[t] # <<>>
       /\ up' = [up EXCEPT ![t] = Tail(@)]
       /\ CASE packet.type = "CONNECTED" -> Answered(t, packet.number)
            [] packet.type = "ERROR"     -> Refused(t, packet.number, FALSE)
            [] packet.type = "DECLINED"  -> Refused(t, packet.number, TRUE)
       /\ UNCHANGED <<line, agent>>

ServerNoticesLoss(t) ==
    LET ends == [server EXCEPT ![t] = [open |-> FALSE, pending |-> {}, connections |-> {}]]
    IN /\ line[t] = "lost" /\ Live(t)
       /\ up' = [up EXCEPT ![t] = <<>>]
       /\ IF server[t].pending # {} THEN Retry(down, ends) ELSE server' = ends /\ UNCHANGED <<dial, down>>
       /\ UNCHANGED <<line, agent>>

(* ---- the agents ----------------------------------------------------------------------------------------------- *)

AgentReceives(t) ==
    LET packet == Head(down[t])
    IN /\ agent[t].open /\ down[t] # <<>>
       /\ down' = [down EXCEPT ![t] = Tail(@)]
       /\ agent' = [agent EXCEPT ![t] =
              CASE packet.type = "DIAL_REQ" -> [@ EXCEPT !.opening = @ \union {packet.number}]
                [] packet.type = "DIAL_CLS" -> [@ EXCEPT !.opening = @ \ {packet.number}]
                [] packet.type = "RESET"    -> [@ EXCEPT !.targets = @ \ {packet.number}]]
       /\ UNCHANGED <<dial, line, server, up>>

AgentAnswers(t) ==
    /\ agent[t].open
    /\ \E number \in agent[t].opening :
        /\ \/ /\ agent' = [agent EXCEPT ![t].opening = @ \ {number}, ![t].targets = @ \union {number}]
              /\ up' = Put(up, t, Packet("CONNECTED", number))
           \/ /\ agent' = [agent EXCEPT ![t].opening = @ \ {number}]
              /\ up' \in {Put(up, t, Packet("ERROR", number)), Put(up, t, Packet("DECLINED", number))}
    /\ UNCHANGED <<dial, line, server, down>>

\* The agent closes all that the tunnel had opened, and makes the next tunnel if one is left.
AgentNoticesLoss(t) ==
    LET next == {n \in Tunnels : line[n] = "unmade"}
        made(n) == n \in next /\ \A other \in next : n <= other
    IN /\ line[t] = "lost" /\ agent[t].open
       /\ agent' = [n \in Tunnels |-> IF n = t THEN [open |-> FALSE, opening |-> {}, targets |-> {}]
                                      ELSE IF made(n) THEN [agent[n] EXCEPT !.open = TRUE] ELSE agent[n]]
       /\ server' = [n \in Tunnels |-> IF made(n) THEN [server[n] EXCEPT !.open = TRUE] ELSE server[n]]
       /\ line' = [n \in Tunnels |-> IF made(n) THEN "up" ELSE line[n]]
       /\ down' = [down EXCEPT ![t] = <<>>]
       /\ UNCHANGED <<dial, up>>

LineBreaks(t) ==
    /\ line[t] = "up"
    /\ line' = [line EXCEPT ![t] = "lost"]
    /\ UNCHANGED <<dial, server, agent, down, up>>

Works(t) == ServerReceives(t) \/ AgentReceives(t) \/ ServerNoticesLoss(t) \/ AgentNoticesLoss(t)
Next == Starts \/ GivesUp \/ Expires \/ FrontendLeaves \/ \E t \in Tunnels : Works(t) \/ AgentAnswers(t) \/ LineBreaks(t)

\* An agent need not answer. The deadline, the line and the receivers act in the end.
Spec == Init /\ [][Next]_vars /\ WF_vars(Starts \/ Expires \/ \E t \in Tunnels : Works(t))

(* ---- what always holds ---------------------------------------------------------------------------------------- *)

Over == dial.state \in {"connected", "failed", "cancelled"}

\* The frontend is told one outcome, and none once it has left.
ToldOnce == dial.told = IF dial.state \in {"connected", "failed"} THEN 1 ELSE 0

\* A dial waits on one tunnel at most: no later answer can give the frontend a second connection.
OnePending == Cardinality(UNION {server[t].pending : t \in Tunnels}) = IF dial.state = "asked" THEN 1 ELSE 0

\* The frontend's connection is a target that the same tunnel's agent opened for the last try.
OwnTarget == \A t \in Tunnels : \A number \in server[t].connections :
    /\ t = dial.asked /\ number = dial.tries
    /\ agent[t].open => number \in agent[t].targets

(* ---- what holds in the end ------------------------------------------------------------------------------------ *)

\* The dial is over.
Ends == <>Over

\* No target stays open that no frontend uses.
NoOrphan == <>[](\A t \in Tunnels : agent[t].targets = server[t].connections)
=================================================================================
