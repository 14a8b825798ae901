"""What a database refusal means: SQLSTATE to domain error."""

import psycopg

from cloud.db.rules import RULES
from cloud.errors import CloudError


class DomainError(CloudError):
    """A database refuses what was asked. `sqlstate` is its code, `hint` says what to do, where it is known."""

    def __init__(self, message: str, *, sqlstate: str, hint: str | None = None, constraint: str | None = None) -> None:
        super().__init__(f"{message}; {_clause(hint)}" if hint else message)
        self.sqlstate = sqlstate
        self.hint = hint
        self.constraint = constraint


def _clause(hint: str) -> str:
    """A schema's hint is a sentence of its own; here it goes on after a semicolon."""
    first = hint[:1].lower() if hint[1:2].islower() else hint[:1]
    return f"{first}{hint[1:].removesuffix('.')}"


class NotFoundError(DomainError):
    """What was named does not exist."""


class ConflictError(DomainError):
    """It exists already, or something else stands in its place."""


class ImmutableError(DomainError):
    """It is kept as it is, for good."""


class InvalidError(DomainError):
    """A value breaks a rule of the schema; `constraint` names it where the schema does."""


class ForbiddenError(DomainError):
    """The service's database role may not do this: a grant is missing, or somebody tries what is not allowed."""


class OutdatedError(DomainError):
    """The database lacks what this release works with."""


_MEANING: dict[str, type[DomainError]] = {
    "SG010": NotFoundError,  # no such gateway
    "SG011": ConflictError,  # gateway name taken
    "SG012": ConflictError,  # gateway key known already
    "SG013": NotFoundError,  # no such valid key
    "SG020": ConflictError,  # device is a meter already
    "SG021": NotFoundError,  # device is no meter
    "SG022": NotFoundError,  # no such meter
    "SG023": ConflictError,  # meter is read as another device
    "SG024": NotFoundError,  # no such region
    "SG025": ConflictError,  # serial number registered already
    "SG026": InvalidError,  # an exchange that has not happened yet
    "SG027": ConflictError,  # an exchange before another that was told already
    "SG028": NotFoundError,  # no exchange at that instant
    "SG029": ConflictError,  # a later exchange stands
    "SG030": ImmutableError,  # audit log
    "SG031": ImmutableError,  # invoice that is no draft
    "SG032": ImmutableError,  # price table, or what was billed by it
    "SG033": ImmutableError,  # ledger, series of numbers, a payment that is settled
    "SG034": ConflictError,  # books that do not balance
    "SG035": ImmutableError,  # a price that was in force
    "SG040": InvalidError,  # no such resolution
    "SG041": InvalidError,  # no quarter-hours
    "SG042": NotFoundError,  # nothing was edited
    "SG043": ConflictError,  # a reading comes before an estimate
    "SG044": NotFoundError,  # no like days
    "SG045": InvalidError,  # not over yet
    "SG046": InvalidError,  # more than the connection carries
    "SG050": ConflictError,  # address taken
    "SG051": NotFoundError,  # no such user
    "SG052": ForbiddenError,  # no such proof
    "SG053": ConflictError,  # meter given at that time or later already
    "SG054": ForbiddenError,  # nobody is logged in
    "SG060": NotFoundError,  # nothing that the caller may read
    "SG062": InvalidError,  # no span of time
    "SG063": InvalidError,  # a span too long for the question
    "SG070": ForbiddenError,  # not the caller's to do
    "SG071": InvalidError,  # a capacity that is not there yet
    "SG072": ConflictError,  # a region that something names
    "SG073": ConflictError,  # the last key of a gateway
    "SG074": NotFoundError,  # a meter that is nobody's
    "SG080": ForbiddenError,  # not for this role
    "SG081": ConflictError,  # one's own account, or the last admin
    "SG082": ConflictError,  # second factor on already
    "SG083": ConflictError,  # no second factor
    "SG084": ForbiddenError,  # the role asks for a second factor
    "SG085": ConflictError,  # no operator
    "SG090": NotFoundError,  # no such tariff
    "SG091": ConflictError,  # prices from then on already
    "SG092": ConflictError,  # tariff assigned at that time or later already
    "SG093": NotFoundError,  # a region without a price of its own
    "SG094": InvalidError,  # a price, its rules or its time that cannot be
    "SG095": ConflictError,  # another override then
    "SG096": NotFoundError,  # no such override
    "SG097": ConflictError,  # an override that is over
    "SG098": ConflictError,  # another price of a series then already
    "SG099": ConflictError,  # a tariff of another zone than the meter
    "SG100": NotFoundError,  # no such invoice
    "SG101": ConflictError,  # the invoice is not in a state for it
    "SG102": ForbiddenError,  # one's own invoice
    "SG103": ConflictError,  # something changed while it was billed
    "SG104": InvalidError,  # more than there is, or no amount of the currency
    "SG105": ConflictError,  # the same event or payment, told otherwise
    "SG106": ConflictError,  # no open dispute
    "SG107": ConflictError,  # net metering with two price tables in a month
    "SG108": ConflictError,  # nobody knows the customer's name any more
    "SG110": NotFoundError,  # no such alert
    "SG111": NotFoundError,  # no such rule there
    "SG112": InvalidError,  # more alerts than are acted on at once
    "SG113": InvalidError,  # a rule that cannot be
    "SG114": InvalidError,  # a maintenance window that cannot be
    "SG115": NotFoundError,  # no such maintenance window
    "SG116": ConflictError,  # a maintenance window that is over
    "SG117": NotFoundError,  # nothing of that name to work at
    "SG118": ConflictError,  # what is said of meters stands against it
    "22P02": InvalidError,
    "22003": InvalidError,
    "22007": InvalidError,
    "22008": InvalidError,
    "22023": InvalidError,
    "23502": InvalidError,
    "23503": ConflictError,
    "23505": ConflictError,
    "23514": InvalidError,
    "23P01": ConflictError,
    "3F000": OutdatedError,
    "42501": ForbiddenError,
    "42703": OutdatedError,
    "42883": OutdatedError,
    "42P01": OutdatedError,
}

# What to do, in the words of segs-cloud: the schema's hints are for every client, and name no command.
_ADVICE = {
    "SG010": "segs-cloud gateway list names them",
    "SG013": "segs-cloud gateway show names the ids of its keys",
    "SG020": "segs-cloud gateway device remove ends that first",
    "SG021": "segs-cloud meter list names the devices that are meters",
    "SG022": "segs-cloud meter list names them",
    "SG023": "segs-cloud gateway device remove ends that first",
    "SG028": "segs-cloud meter show names its exchanges",
    "SG042": "segs-cloud vee show --history tells what was ever edited",
    "SG046": "look at unit and decimals; --beyond-limit takes it all the same, and the reason then says so",
    "SG090": "segs-cloud tariff list names them, and when they hold",
    "SG093": "segs-cloud tariff regional gives it one",
    "SG096": "segs-cloud tariff override list names them",
    "SG100": "segs-cloud billing list names them",
    "SG108": "segs-cloud billing address sets name and address for the bills of who left",
    "SG110": "segs-cloud alerts list names them",
    "SG111": "segs-cloud alerts rules list names them, and where they hold",
    "SG115": "segs-cloud alerts maintenance list names them",
    "3F000": "segs-cloud schema apply brings the database to this release",
    "42501": "use a role that may: docs/operations.md, Processes, ports, roles",
    "42703": "segs-cloud schema apply brings the database to this release",
    "42883": "segs-cloud schema apply brings the database to this release",
    "42P01": "segs-cloud schema apply brings the database to this release",
}


# After these the same transaction may succeed when it is run again from its start.
RETRYABLE = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03"})


def domain_error(error: psycopg.Error) -> DomainError | None:
    """What `error` means to the domain; None where it is no refusal but a fault of server, network or program."""
    kind = _MEANING.get(error.sqlstate or "")
    if kind is None or error.sqlstate is None:
        return None
    diagnosis = error.diag
    message = RULES.get(diagnosis.constraint_name or "") or diagnosis.message_primary or str(error)
    hint = _ADVICE.get(error.sqlstate, diagnosis.message_hint)
    return kind(message, sqlstate=error.sqlstate, hint=hint, constraint=diagnosis.constraint_name)
