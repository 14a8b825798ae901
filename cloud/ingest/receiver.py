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
from cloud.ingest.admission import Admission
from cloud.ingest.errors import BodyTooLarge, Malformed, Unavailable, UnknownKey, UnsupportedMedia
from cloud.ingest.registry import NOTHING, Registry, current_version, load
from cloud.ingest.transaction import Acceptance, Delivery, RegistryChanged, commit
from contract.batch import Batch, BatchError
from contract.codec import ENCODINGS, MEDIA_TYPES, TooLarge, checksum, decode, decompress
from contract.receipt import Receipt, StreamState

_QUERIES = Queries("ingest")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost."""

    body_bytes: int = 4 * 2**20
    decompressed_bytes: int = 32 * 2**20
    readings: int = 50_000
    columns: int = 100_000
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

    async def accept(
        self, key: str, media_type: str, encoding: str, body: AsyncIterator[bytes], declared_bytes: int | None
    ) -> tuple[Receipt, bool]:
        """Take one batch; return its receipt and whether it was new.

        Raises a leaf of `errors.Refused`; the batch is then not stored, and the gateway keeps it.
        """
        gateway_id = await self._authenticate(key)
        if media_type not in MEDIA_TYPES:
            raise UnsupportedMedia(f"content type {media_type!r}; send one of {', '.join(MEDIA_TYPES)}")
        if encoding not in ENCODINGS:
            raise UnsupportedMedia(f"content encoding {encoding!r}; send one of {', '.join(ENCODINGS)}")
        with self._admission.of(gateway_id):
            raw = await self._read(body, declared_bytes)
            batch, sha256 = self._decode(raw, media_type, encoding)
            return await self._store(key, Delivery(gateway_id, batch, sha256))

    async def stream_state(self, key: str, stream: str) -> StreamState:
        """What has arrived of a stream of the gateway with this key."""
        gateway_id = await self._authenticate(key)
        try:
            async with self._pool.connection() as connection:
                await self._keep_up(connection)
                if self._registry.gateway_id(key) != gateway_id:
                    raise UnknownKey("the key was revoked")
                cursor = await connection.execute(
                    _QUERIES["stream_ranges"], {"gateway_id": gateway_id, "stream": stream}
                )
                return StreamState(stream, await cursor.fetchall())
        except (OperationalError, PoolTimeout, TooManyRequests) as error:
            raise _away(error) from error

    async def _authenticate(self, key: str) -> int:
        """The gateway of `key`; before an unknown key is refused, the registry is looked at again if it has changed."""
        gateway_id = self._registry.gateway_id(key)
        if gateway_id is None:
            async with self._lookup:
                try:
                    async with self._pool.connection() as connection:
                        await self._keep_up(connection)
                except (OperationalError, PoolTimeout, TooManyRequests) as error:
                    raise _away(error) from error
            gateway_id = self._registry.gateway_id(key)
        if gateway_id is None:
            raise UnknownKey("no gateway has this key, or it was revoked; ask the operator for a new one")
        return gateway_id

    async def _keep_up(self, connection: AsyncConnection) -> None:
        """Loads the registry if it has changed."""
        if await current_version(connection) != self._registry.version:
            self._registry = await load(connection)

    async def _read(self, body: AsyncIterator[bytes], declared_bytes: int | None) -> bytes:
        limit = self._limits.body_bytes
        if declared_bytes is not None and declared_bytes > limit:
            raise BodyTooLarge(f"body of {declared_bytes} bytes; the limit is {limit}")
        raw = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                async for chunk in body:
                    raw += chunk
                    if len(raw) > limit:
                        raise BodyTooLarge(f"body of more than {limit} bytes")
        except TimeoutError:
            raise Unavailable("the body did not arrive in time", retry_after_s=5) from None
        return bytes(raw)

    def _decode(self, raw: bytes, media_type: str, encoding: str) -> tuple[Batch, str]:
        try:
            plain = decompress(raw, encoding, self._limits.decompressed_bytes)
            batch = decode(plain, media_type)
        except TooLarge as error:
            raise BodyTooLarge(str(error)) from error
        except BatchError as error:
            raise Malformed(str(error), where=error.where) from error
        if batch.readings > self._limits.readings:
            raise BodyTooLarge(f"{batch.readings} readings; the limit is {self._limits.readings}")
        if batch.columns > self._limits.columns:
            raise BodyTooLarge(f"{batch.columns} columns of devices; the limit is {self._limits.columns}")
        return batch, checksum(plain)

    async def _store(self, key: str, delivery: Delivery) -> tuple[Receipt, bool]:
        """Commit, again after a deadlock, and with the new registry after a change of it."""
        transient = (DeadlockDetected, SerializationFailure, RegistryChanged)
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(transient),
            stop=stop_after_attempt(8),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            reraise=True,
        )
        try:
            return await attempts(self._attempt, key, delivery)
        except (OperationalError, PoolTimeout, TooManyRequests, TimeoutError, RegistryChanged) as error:
            raise _away(error) from error

    async def _attempt(self, key: str, delivery: Delivery) -> tuple[Receipt, bool]:
        async with asyncio.timeout(self._limits.commit_timeout_s), self._pool.connection() as connection:
            try:
                return await commit(connection, delivery, self._registry, self._acceptance, self._clock())
            except RegistryChanged as change:
                self._registry = change.registry
                if self._registry.gateway_id(key) != delivery.gateway_id:
                    raise UnknownKey("the key was revoked") from None
                raise


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"the telemetry database did not take it: {type(error).__name__}", retry_after_s=2)
