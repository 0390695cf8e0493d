------------------------------- MODULE Connection -------------------------------
(* One proxied connection between the two ends of a tunnel, by the extension of docs/internals/protocol.md.

   The state table is not written here: ExtendedTable is generated from the program. This module adds what surrounds the
   table: credit, queues, the buffer of the local side, and a line that may break at any step. A line that broke may still
   deliver what was under way, and each end notices the loss at a time of its own.

   A byte is represented by its number in its direction, so order, loss and repetition can be seen. *)
EXTENDS Naturals, Sequences, FiniteSets, ExtendedTable

CONSTANTS DialingBytes,  \* bytes that the local side of the dialing end writes at most
          ServingBytes,  \* bytes that the local side of the serving end writes at most
          Window         \* credit that each end grants at first; it is returned byte by byte

VARIABLES end,      \* the two ends of the connection
          channel,  \* packets under way, by the end that sent them
          line      \* "up" or "lost"

vars == <<end, channel, line>>

Ends == {"dialing", "serving"}
Bytes(e) == IF e = "dialing" THEN DialingBytes ELSE ServingBytes
Far(e) == IF e = "dialing" THEN "serving" ELSE "dialing"

NewEnd ==
    [state    |-> "open",
     written    |-> 0,       \* bytes taken from the local side
     ended      |-> FALSE,   \* the local side ended its output
     stopped    |-> FALSE,   \* the peer takes no more: the queue is dropped
     gone       |-> FALSE,   \* the local side takes no more input
     sent       |-> 0,
     credit     |-> Window,
     granted    |-> Window,  \* bytes that the peer may still send
     received   |-> 0,
     passed     |-> 0,       \* bytes that have left for the local side
     complete   |-> FALSE,   \* DATA_END was received
     closing    |-> "no",    \* what the local side will be told behind its buffer: "end", or at once: "abort"
     told       |-> "no",    \* what the local side was told
     lost       |-> FALSE,   \* a byte was received out of order
     violated   |-> FALSE,   \* the peer was found to break the rules
     out        |-> <<>>]    \* packets that the step in progress sends

Init ==
    /\ end = [e \in Ends |-> NewEnd]
    /\ channel = [e \in Ends |-> <<>>]
    /\ line = "up"

Send(r, packet) == [r EXCEPT !.out = Append(@, packet)]
Packet(type, number) == [type |-> type, number |-> number]

(* ---- transitions by the table --------------------------------------------------------------------------------- *)

Act(r, action) ==
    CASE action = "SEND_END"    -> Send(r, Packet("DATA_END", r.sent))
      [] action = "SEND_STOP"   -> Send(r, Packet("STOP", 0))
      [] action = "SEND_RESET"  -> Send(r, Packet("RESET", 0))
      [] action = "DROP_QUEUE"  -> [r EXCEPT !.stopped = TRUE]
      [] action = "END_LOCAL"   -> [r EXCEPT !.complete = TRUE, !.closing = "end"]
      [] action = "CLOSE_LOCAL" -> [r EXCEPT !.complete = TRUE, !.closing = "end"]
      [] action = "ABORT_LOCAL" -> [r EXCEPT !.closing = "abort", !.told = IF @ = "no" /\ ~r.gone THEN "abort" ELSE @]

RECURSIVE ActAll(_, _)
ActAll(r, actions) == IF actions = <<>> THEN r ELSE ActAll(Act(r, Head(actions)), Tail(actions))

RECURSIVE Step(_, _)
Step(r, input) ==
    IF r.state = "closed" THEN r
    ELSE IF <<r.state, input>> \in DOMAIN Table
         THEN LET row == Table[<<r.state, input>>]
              IN ActAll([r EXCEPT !.state = row.to, !.violated = @ \/ input = "violation"], row.actions)
         ELSE Step(r, "violation")

\* The local side ended its output, and nothing is queued.
Flushed(r) == IF r.ended /\ ~r.stopped /\ r.sent = r.written THEN Step(r, "local end") ELSE r

(* ---- the local side ------------------------------------------------------------------------------------------- *)

\* Make r the new state of end e, and send what it has to send. On a lost line packets disappear.
Become(e, r) ==
    /\ end' = [end EXCEPT ![e] = [r EXCEPT !.out = <<>>]]
    /\ channel' = [channel EXCEPT ![e] = IF line = "up" THEN @ \o r.out ELSE @]
    /\ UNCHANGED line

Writes(e) ==
    LET r == end[e]
    IN /\ r.state # "closed" /\ ~r.ended /\ r.written < Bytes(e)
       /\ Become(e, [r EXCEPT !.written = @ + 1])

EndsOutput(e) ==
    LET r == end[e]
    IN /\ r.state # "closed" /\ ~r.ended
       /\ Become(e, Flushed([r EXCEPT !.ended = TRUE]))

Leave(r) == [r EXCEPT !.gone = TRUE, !.passed = r.received]

Goes(r) ==
    LET left == Step(Leave(r), "local gone")
    IN IF left.state = "closed" \/ left.ended THEN left ELSE Flushed([left EXCEPT !.ended = TRUE])

LocalGone(e) ==
    LET r == end[e]
    IN /\ r.state # "closed" /\ ~r.gone
       /\ Become(e, Goes(r))

LocalLost(e) ==
    LET r == end[e]
    IN /\ r.state # "closed" /\ ~r.gone
       /\ Become(e, IF r.ended THEN Goes(r) ELSE Step(Leave(r), "local lost"))

\* One byte leaves for the local side, and credit for it is returned.
Drains(e) ==
    LET r == end[e]
        left == [r EXCEPT !.passed = @ + 1]
        open == r.state # "closed" /\ ~r.complete
    IN /\ r.passed < r.received /\ ~r.gone /\ r.closing # "abort"
       /\ Become(e, IF open THEN Send([left EXCEPT !.granted = @ + 1], Packet("CREDIT", 1)) ELSE left)

\* The local side reads the end behind its last byte.
ReadsEnd(e) ==
    LET r == end[e]
    IN /\ r.closing = "end" /\ r.told = "no" /\ ~r.gone /\ r.passed = r.received
       /\ Become(e, [r EXCEPT !.told = "end"])

(* ---- the tunnel ----------------------------------------------------------------------------------------------- *)

Sends(e) ==
    LET r == end[e]
    IN /\ r.state # "closed" /\ ~r.stopped /\ r.sent < r.written /\ r.credit > 0
       /\ Become(e, Flushed(Send([r EXCEPT !.sent = @ + 1, !.credit = @ - 1], Packet("DATA", r.sent + 1))))

Data(r, number) ==
    IF r.granted = 0 \/ r.complete THEN Step(r, "violation")
    ELSE [r EXCEPT !.granted = @ - 1, !.received = @ + 1, !.lost = @ \/ number # r.received + 1,
                   !.passed = IF r.gone THEN @ + 1 ELSE @]

Handle(r, packet) ==
    CASE r.state = "closed"        -> IF packet.type = "DATA" THEN Send(r, Packet("RESET", 0)) ELSE r
      [] packet.type = "DATA"     -> Data(r, packet.number)
      [] packet.type = "CREDIT"   -> [r EXCEPT !.credit = @ + packet.number]
      [] packet.type = "DATA_END" -> Step(r, IF packet.number = r.received THEN "peer end" ELSE "violation")
      [] packet.type = "STOP"     -> Step(r, "peer stop")
      [] packet.type = "RESET"    -> Step(r, "peer reset")

Receives(e) ==
    LET r == Handle(end[e], Head(channel[Far(e)]))
    IN /\ channel[Far(e)] # <<>>
       /\ end' = [end EXCEPT ![e] = [r EXCEPT !.out = <<>>]]
       /\ channel' = [channel EXCEPT ![Far(e)] = Tail(@), ![e] = IF line = "up" THEN @ \o r.out ELSE @]
       /\ UNCHANGED line

LineBreaks ==
    /\ line = "up"
    /\ line' = "lost"
    /\ UNCHANGED <<end, channel>>

\* An end that notices the loss reads nothing more from the line.
NoticesLoss(e) ==
    /\ line = "lost" /\ (end[e].state # "closed" \/ channel[Far(e)] # <<>>)
    /\ end' = [end EXCEPT ![e] = [Step(@, "tunnel lost") EXCEPT !.out = <<>>]]
    /\ channel' = [channel EXCEPT ![Far(e)] = <<>>]
    /\ UNCHANGED line

\* The time to hand over the rest has passed.
Expires(e) ==
    /\ end[e].state # "closed" /\ end[e].gone
    /\ Become(e, Step(end[e], "expired"))

Works(e) == Sends(e) \/ Receives(e) \/ Drains(e) \/ ReadsEnd(e) \/ NoticesLoss(e)
Next ==
    \/ LineBreaks
    \/ \E e \in Ends : Works(e) \/ Writes(e) \/ EndsOutput(e) \/ LocalGone(e) \/ LocalLost(e) \/ Expires(e)

\* No behaviour goes on for ever: each step uses something up. So one condition is enough for all steps of the programs.
Spec == Init /\ [][Next]_vars /\ WF_vars(\E e \in Ends : Works(e))

(* ---- what always holds ---------------------------------------------------------------------------------------- *)

Count(packets, type) == Cardinality({i \in DOMAIN packets : packets[i].type = type})

\* Bytes arrive once and in order, and only bytes that the other local side wrote.
InOrder == \A e \in Ends : ~end[e].lost /\ end[e].received <= end[Far(e)].sent /\ end[e].sent <= end[e].written

\* A local side reads a clean end only behind all that the other one wrote before it ended its output.
CleanEnd == \A e \in Ends :
    end[e].told = "end" => /\ end[e].passed = end[Far(e)].written
                           /\ end[Far(e)].ended

\* Two ends that keep the rules never find the other one breaking them.
NoViolation == \A e \in Ends : ~end[e].violated

\* The buffer of a local side that reads nothing stays within the window.
Bounded == \A e \in Ends : ~end[e].gone => end[e].received - end[e].passed <= Window

\* Credit is neither lost nor created.
CreditKept == \A e \in Ends :
    (line = "up" /\ end[e].state # "closed" /\ end[Far(e)].state # "closed")
        => end[e].granted = end[Far(e)].credit + Count(channel[Far(e)], "DATA") + Count(channel[e], "CREDIT")

(* ---- what holds in the end ------------------------------------------------------------------------------------ *)

\* If one end is over, so is the other one.
BothLearn == <>[](\A e \in Ends : end[e].state = "closed" => end[Far(e)].state = "closed")

\* If both local sides ended their output, the connection is over.
Completes == <>[]((\A e \in Ends : end[e].ended) => \A e \in Ends : end[e].state = "closed")

\* A local side that stayed was told of the end of its connection.
Told == <>[](\A e \in Ends : end[e].state = "closed" => end[e].gone \/ end[e].told # "no")
=================================================================================
