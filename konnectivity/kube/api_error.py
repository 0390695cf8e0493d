"""Error of everything that has to do with the Kubernetes API."""

from __future__ import annotations


class KubeError(Exception):
    """Failure to use the API: no access, no answer, or a refusal. `str()` names the file or address, and the reason.

    Attributes:
        code: HTTP status of the answer; 0: there was no answer.
        reason: the API's word for the refusal, such as `Conflict`; without an answer `Timeout` or `Unreachable`.
        retry_after_s: seconds to wait before the next request, as the API demands; 0: no demand.

    """

    def __init__(self, text: str, code: int = 0, reason: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s
