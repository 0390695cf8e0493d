"""The one exception of everything that has to do with the Kubernetes API."""

from __future__ import annotations


class KubeError(Exception):
    """The API cannot be used, did not answer, or said no. `str()` names the file or the address, and what is wrong.

    Attributes:
        code: HTTP status of the answer; 0: there was none.
        reason: the API's word for it, such as `Conflict`; without an answer `Timeout` or `Unreachable`.
        retry_after_s: when to come back, if the API said so; else 0.

    """

    def __init__(self, text: str, code: int = 0, reason: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s
