"""The receiver: authentication, limits, decoding, and one transaction per batch; 200 only after it has committed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cloud.db.queries import Queries
from cloud.ingest import body as bodies
from cloud.ingest import reports
from cloud.ingest.acceptance import Acceptance
from cloud.ingest.admission import Admission, Place
from cloud.ingest.errors import BodyTooLarge, Unavailable, UnknownKey, UnsupportedMedia
from cloud.ingest.registry import NOTHING, Registry, current_version, load
from cloud.ingest.transaction import Delivery, RegistryChanged, commit, sorted_out
from cloud.instant import microseconds
from contract.codec import ENCODINGS, JSON, MEDIA_TYPES, Bounds
from contract.notes import NoteKind
from contract.receipt import Receipt, StreamState

_QUERIES = Queries("ingest")
_AWAY = (OperationalError, PoolTimeout, TooManyRequests)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost."""

    body_bytes: int = 4 * 2**20
    report_bytes: int = 64 * 2**10
    decompressed_bytes: int = 32 * 2**20
    readings: int = 50_000
    columns: int = 100_000
    notes: int = 50_000
    body_timeout_s: float = 30.0
    commit_timeout_s: float = 30.0


class Receiver:
    """Accepts batches into one telemetry database. Stateless but for a cached registry; any number may run."""

    def __init__(
        self,
        *,
        pool: AsyncConnectionPool,
        admission: Admission,
        clock: Callable[[], datetime],
        limits: Limits,
        acceptance: Acceptance,
    ) -> None:
        self._pool, self._admission, self._clock = pool, admission, clock
        self._limits, self._acceptance = limits, acceptance
        self._registry: Registry = NOTHING
        self._lookup = asyncio.Lock()
        self._lookups = 0
        self._lookup_failed: Exception | None = None
        # Reports and questions have places of their own: a batch does not wait for them, nor they for batches.
        self._asides = Admission(in_flight=16, per_gateway=2)

    async def accept(
        self, key: str, media_type: str, encoding: str, body: AsyncIterator[bytes], declared_bytes: int | None
    ) -> tuple[Receipt, Delivery, bool]:
        """Take one batch; return its receipt, what was delivered, and whether it was new.

        Raises a leaf of `errors.Refused`; the batch is then not stored, and the gateway keeps it.
        """
        gateway_id = await self._authenticate(key)
        if media_type not in MEDIA_TYPES:
            raise UnsupportedMedia(
                f"content type {media_type!r}; send one of {', '.join(MEDIA_TYPES)}", media_types=MEDIA_TYPES
            )
        if encoding not in ENCODINGS:
            raise UnsupportedMedia(
                f"content encoding {encoding!r}; send one of {', '.join(ENCODINGS)}", media_types=MEDIA_TYPES
            )
        with self._admission.of(gateway_id) as place:
            plain = await self._plain(body, media_type, encoding, declared_bytes, place)
            delivery = await self._delivery(gateway_id, plain, media_type)
            del plain
            receipt, new = await self._store(key, delivery, place)
            return receipt, delivery, new

    async def report(self, key: str, media_type: str, body: AsyncIterator[bytes], declared_bytes: int | None) -> None:
        """Take a gateway's report in the place of the one before. Raises a leaf of `errors.Refused`."""
        gateway_id = await self._authenticate(key)
        if media_type != JSON:
            raise UnsupportedMedia(f"content type {media_type!r}; send a report as {JSON}", media_types=(JSON,))
        with self._asides.of(gateway_id):
            raw = await bodies.read(
                body, declared_bytes, limit_bytes=self._limits.report_bytes, timeout_s=self._limits.body_timeout_s
            )
            report = reports.parse(raw)
            try:
                async with asyncio.timeout(self._limits.commit_timeout_s), self._pool.connection() as connection:
                    await self._look_again(connection, key, gateway_id)
                    await reports.keep(connection, report, gateway_id, self._clock())
            except (*_AWAY, TimeoutError) as error:
                raise self._away(error) from error

    async def stream_state(self, key: str, stream: str, from_seq: int) -> StreamState:
        """What has arrived of a stream of the gateway with this key, from a sequence number on."""
        gateway_id = await self._authenticate(key)
        wanted = {"gateway_id": gateway_id, "stream": stream, "from_seq": from_seq}
        with self._asides.of(gateway_id):
            try:
                async with self._pool.connection() as connection:
                    await self._look_again(connection, key, gateway_id)
                    cursor = await connection.execute(_QUERIES["stream_ranges"], wanted)
                    return StreamState(stream, await cursor.fetchall(), list(MEDIA_TYPES), list(NoteKind))
            except _AWAY as error:
                raise self._away(error) from error

    def now_us(self) -> int:
        """The receiver's clock, microseconds since 1970."""
        return microseconds(self._clock())

    def credit(self, key: str) -> int:
        """How many batches of backlog the gateway with this key may have under way now; 0 for an unknown one."""
        gateway_id = self._registry.gateway_id(key)
        return 0 if gateway_id is None else self._admission.credit(gateway_id)

    async def _authenticate(self, key: str) -> int:
        """The gateway of `key`; before an unknown key is refused, the registry is looked at again if it has changed."""
        gateway_id = self._registry.gateway_id(key)
        if gateway_id is None:
            await self._catch_up()
            gateway_id = self._registry.gateway_id(key)
        if gateway_id is None:
            raise UnknownKey("no gateway has this key, or it was revoked; ask the operator for a new one")
        return gateway_id

    async def _catch_up(self) -> None:
        """Looks at the registry, once for all who ask meanwhile: a thousand gateways come back at the same time."""
        begun_before = self._lookups
        async with self._lookup:
            if self._lookups == begun_before:
                self._lookups += 1
                self._lookup_failed = None
                try:
                    async with self._pool.connection() as connection:
                        await self._keep_up(connection)
                except _AWAY as error:
                    self._lookup_failed = error
            if self._lookup_failed is not None:
                raise self._away(self._lookup_failed) from self._lookup_failed

    async def _keep_up(self, connection: AsyncConnection) -> None:
        """Loads the registry if it has changed."""
        if await current_version(connection) != self._registry.version:
            self._registry = await load(connection)

    async def _look_again(self, connection: AsyncConnection, key: str, gateway_id: int) -> None:
        """Raises UnknownKey where the key is no longer the gateway's."""
        await self._keep_up(connection)
        if self._registry.gateway_id(key) != gateway_id:
            raise UnknownKey("the key was revoked")

    async def _plain(
        self, body: AsyncIterator[bytes], media_type: str, encoding: str, declared_bytes: int | None, place: Place
    ) -> bytes:
        limits = self._limits
        raw = await bodies.read(body, declared_bytes, limit_bytes=limits.body_bytes, timeout_s=limits.body_timeout_s)
        plain = await bodies.plain(raw, encoding, limit_bytes=limits.decompressed_bytes)
        place.hold(bodies.grown(len(plain), media_type))
        return plain

    async def _delivery(self, gateway_id: int, plain: bytes, media_type: str) -> Delivery:
        bounds = Bounds(self._limits.readings, self._limits.columns)
        contents, sha256 = await bodies.decoded(plain, media_type, bounds)
        if len(contents.notes) > self._limits.notes:
            raise BodyTooLarge(f"{len(contents.notes)} notes; the limit is {self._limits.notes}")
        return Delivery(gateway_id, contents, sha256)

    async def _store(self, key: str, delivery: Delivery, place: Place) -> tuple[Receipt, bool]:
        """Commit, again after a deadlock, and with the new registry after a change of it."""
        transient = (DeadlockDetected, SerializationFailure, RegistryChanged)
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(transient),
            stop=stop_after_attempt(8),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            reraise=True,
        )
        try:
            return await attempts(self._attempt, key, delivery, place)
        except (*_AWAY, TimeoutError, RegistryChanged) as error:
            raise self._away(error) from error

    async def _attempt(self, key: str, delivery: Delivery, place: Place) -> tuple[Receipt, bool]:
        now, registry = self._clock(), self._registry
        found = await sorted_out(delivery, registry, self._acceptance.window(now))
        async with (
            asyncio.timeout(self._limits.commit_timeout_s),
            place.committing(late=found.late),
            self._pool.connection() as connection,
        ):
            try:
                return await commit(connection, delivery, found, registry, now)
            except RegistryChanged as change:
                self._registry = change.registry
                if self._registry.gateway_id(key) != delivery.gateway_id:
                    raise UnknownKey("the key was revoked") from None
                raise

    def _away(self, error: Exception) -> Unavailable:
        why = f"the telemetry database did not take it: {type(error).__name__}"
        return self._admission.turn_away(why, least_s=2)
