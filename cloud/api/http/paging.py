"""Pages by key: a cursor says after which row the next page begins, so that none is shown twice or left out."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud.api.database import Row
from cloud.api.http.envelope import Meta
from cloud.api.http.errors import Malformed

_CURSOR = re.compile(rb"a([0-9]{1,19})")
_LARGEST = 2**63 - 1


class Paging(BaseModel):
    """Parameters of a list. One that is not known is a mistake, and not ignored."""

    model_config = ConfigDict(extra="forbid")

    cursor: Annotated[str | None, Field(max_length=40, description="meta.next of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Rows of a page.")] = 50

    @property
    def after(self) -> int:
        """Key of the last row of the page before. Raises Malformed."""
        if self.cursor is None:
            return 0
        try:
            found = _CURSOR.fullmatch(urlsafe_b64decode(self.cursor.encode() + b"=" * (-len(self.cursor) % 4)))
        except (Error, ValueError):
            found = None
        if found is None or int(found[1]) > _LARGEST:
            raise Malformed("this is no cursor of a page; take meta.next of the page before", where="query.cursor")
        return int(found[1])


def page(rows: Sequence[Row], *, limit: int, key: str) -> tuple[list[Row], Meta]:
    """At most `limit` of the rows, of which there is one more where there is another page."""
    shown = list(rows[:limit])
    more = urlsafe_b64encode(b"a%d" % shown[-1][key]).rstrip(b"=").decode() if len(rows) > limit else None
    return shown, Meta(next=more, count=len(shown))
