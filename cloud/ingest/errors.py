"""Why a batch is not accepted. Each leaf knows its HTTP status and whether the gateway should come again."""

from collections.abc import Sequence

from cloud.errors import CloudError


class Refused(CloudError):
    """The batch was not stored, and nothing of it was. `status` is the HTTP status, `problem` a stable type name."""

    status = 500
    problem = "internal"

    def __init__(self, detail: str, *, retry_after_s: int | None = None, where: str | None = None) -> None:
        super().__init__(detail)
        self.detail, self.retry_after_s, self.where = detail, retry_after_s, where


class UnknownKey(Refused):
    """No gateway has this key, or it was revoked."""

    status, problem = 401, "unknown-key"


class SequenceReused(Refused):
    """The stream already has another batch under this sequence number."""

    status, problem = 409, "sequence-reused"


class BodyTooLarge(Refused):
    """The body, as sent or decompressed, or the number of its readings passes a limit."""

    status, problem = 413, "too-large"


class UnsupportedMedia(Refused):
    """A content type or encoding that the contract does not have; `media_types` are the types that it does."""

    status, problem = 415, "unsupported-media"

    def __init__(self, detail: str, *, media_types: Sequence[str]) -> None:
        super().__init__(detail)
        self.media_types = media_types


class Malformed(Refused):
    """The body breaks the contract; `where` is the path of the culprit."""

    status, problem = 422, "malformed"


class TooManyRequests(Refused):
    """One gateway has too many batches under way."""

    status, problem = 429, "too-many-requests"


class Unavailable(Refused):
    """The receiver is full or its database is away; nothing was stored, come again."""

    status, problem = 503, "unavailable"
