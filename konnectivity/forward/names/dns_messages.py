"""DNS messages as `konnectivity forward` needs them, made and read by dnspython: questions and answers. Pure.

Does not know how a message is carried.
"""

from __future__ import annotations

from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

A, AAAA, SRV, ANY = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.SRV, dns.rdatatype.ANY
NEGATIVE_TTL_S = 5.0  # seconds that the absence of a name is remembered
MAX_TTL_S = 3600.0
MAX_UDP = 1232  # bytes of an answer by UDP, unless the client takes fewer
_PLAIN_UDP = 512  # without EDNS (RFC 1035)

Question = tuple[str, int]  # name in its canonical form, type of the records


class DnsError(Exception):
    """Message that cannot be used; `str()` has the reason."""


class DnsAnswer(NamedTuple):
    """Answer to a question.

    Attributes:
        code: response code of DNS.
        records: all records of the answer, with the aliases that lead to them.
        ttl_s: seconds for which the answer may be kept.

    """

    code: int
    records: tuple[dns.rrset.RRset, ...]
    ttl_s: float

    def addresses(self) -> list[str]:
        """Return the IPv4 and IPv6 addresses."""
        ours = (each for each in self.records if each.rdtype in (A, AAAA) and each.rdclass == dns.rdataclass.IN)
        return [each.address for records in ours for each in records]


def question_of(name: str, kind: int) -> Question:
    """Return the question for records of a type.

    Raises:
        DnsError: the text is no name of DNS.

    """
    try:
        return dns.name.from_text(name).canonicalize().to_text(), kind
    except dns.exception.DNSException as error:
        raise DnsError(f"{name!r} is no name: {error}") from error


def query(question: Question) -> dns.message.Message:
    """Return a query with a random id."""
    return dns.message.make_query(question[0], dns.rdatatype.RdataType.make(question[1]), use_edns=False)


def read_answer(sent: dns.message.Message, data: bytes) -> DnsAnswer:
    """Return the answer to a query.

    Raises:
        DnsError: the message is malformed, or answers another query.

    """
    try:
        found = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise DnsError(f"malformed answer: {error}") from error
    if not sent.is_response(found):
        raise DnsError("the answer is for another question")
    records = tuple(found.answer)
    ttl = min([float(each.ttl) for each in records] or [NEGATIVE_TTL_S])
    return DnsAnswer(int(found.rcode()), records, min(ttl, MAX_TTL_S))


def read_query(data: bytes) -> dns.message.Message | None:
    """Return a query with exactly one question of the Internet; None if the bytes are no such message."""
    try:
        found = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return None
    ours = found.opcode() == dns.opcode.QUERY and not found.flags & dns.flags.QR and len(found.question) == 1
    return found if ours and found.question[0].rdclass == dns.rdataclass.IN else None


def asked(message: dns.message.Message) -> Question:
    """Return the question of a query that `read_query` accepted."""
    found = message.question[0]
    return found.name.canonicalize().to_text(), int(found.rdtype)


def answer_to(message: dns.message.Message, answer: DnsAnswer | None, age_s: float, by_udp: bool) -> bytes:
    """Return the bytes of the answer to a client's query.

    Args:
        message: the query.
        answer: the answer; None: the name is not resolved here.
        age_s: seconds since the answer was received, by which the times to live are shorter.
        by_udp: whether the size is limited; a longer answer is empty and marked as cut.

    """
    made = dns.message.make_response(message, recursion_available=True)
    made.set_rcode(dns.rcode.REFUSED if answer is None else dns.rcode.from_flags(answer.code, 0))
    for records in answer.records if answer is not None else ():
        kept: dns.rrset.RRset = records.copy()  # type: ignore[no-untyped-call]  # dnspython declares no type for it
        kept.ttl = max(0, int(records.ttl - age_s))
        made.answer.append(kept)
    data = made.to_wire(max_size=65535)
    if not by_udp or len(data) <= (min(message.payload, MAX_UDP) if message.edns >= 0 else _PLAIN_UDP):
        return data
    made.answer.clear()
    made.flags |= dns.flags.TC
    return made.to_wire()


def made_answer(question: Question, addresses: list[str], ttl_s: float) -> DnsAnswer:
    """Return the answer with those addresses that are of the type of a question."""
    name, kind = question
    fitting = [each for each in addresses if (":" in each) == (kind == AAAA)] if kind in (A, AAAA) else []
    if not fitting:
        return DnsAnswer(dns.rcode.NOERROR, (), ttl_s)
    records = (
        dns.rrset.from_text_list(
            name, int(ttl_s), "IN", dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind)), fitting
        ),
    )
    return DnsAnswer(dns.rcode.NOERROR, records, ttl_s)


def no_such_name() -> DnsAnswer:
    """Return the answer that there is no name."""
    return DnsAnswer(dns.rcode.NXDOMAIN, (), NEGATIVE_TTL_S)


def failed() -> DnsAnswer:
    """Return the answer that a name cannot be resolved now."""
    return DnsAnswer(dns.rcode.SERVFAIL, (), 0.0)
