-- The buffer of one gateway, format 3. A reading is in one segment, or set aside alone, until its delivery is confirmed.
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- Identities under which batches are numbered; the newest is the current one.
CREATE TABLE IF NOT EXISTS stream (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    began_us INTEGER NOT NULL
);

-- Starts of this machine. True wall time is the monotonic time plus offset_us; NULL while nothing vouches for any.
-- A negative id is made of offset_us: readings that refer to it have this truth for good, though this row be damaged.
-- Here and below, `seal` is a checksum of what else is in the row and does not change (edge.buffer.seal).
CREATE TABLE IF NOT EXISTS boot (
    id        INTEGER PRIMARY KEY AUTOINCREMENT, -- of a boot that is forgotten no other has the id
    boot_id   TEXT    NOT NULL UNIQUE,
    offset_us INTEGER,
    seen_us   INTEGER NOT NULL,
    seal      INTEGER NOT NULL
);

-- One commit group: zstd of a msgpack array of groups (contract.packed). `offset_us` is the wall clock less the monotonic
-- one when the group was read: a reading's monotonic time is its time less that. Ids leave gaps, for a segment split.
CREATE TABLE IF NOT EXISTS segment (
    id        INTEGER PRIMARY KEY,
    boot      INTEGER NOT NULL,
    offset_us INTEGER NOT NULL,
    level     INTEGER NOT NULL CHECK (level BETWEEN 0 AND 2),
    readings  INTEGER NOT NULL CHECK (readings > 0),
    first_us  INTEGER NOT NULL,
    last_us   INTEGER NOT NULL CHECK (last_us >= first_us),
    seal      INTEGER NOT NULL,
    body      BLOB    NOT NULL
);

-- Cut batches. Its segments are those from first_id to last_id, none where these are NULL; they do not change once it is
-- cut, and so its bytes are made of them again, always the same. A receipt of NULL says that all of it is stored. After
-- the confirmation a row is history.
CREATE TABLE IF NOT EXISTS batch (
    id           INTEGER PRIMARY KEY, -- stream * 2^40 + seq: rows come in order, which writes the fewest pages
    stream       INTEGER NOT NULL,
    seq          INTEGER NOT NULL CHECK (seq > 0),
    lane         INTEGER NOT NULL CHECK (lane IN (0, 1)),
    first_id     INTEGER,
    last_id      INTEGER,
    true_us      INTEGER,
    readings     INTEGER NOT NULL,
    first_us     INTEGER NOT NULL,
    last_us      INTEGER NOT NULL,
    sha256       BLOB    NOT NULL CHECK (length(sha256) = 32),
    media_type   TEXT    NOT NULL,
    cut_us       INTEGER NOT NULL,
    seal         INTEGER NOT NULL,
    receipt_us   INTEGER,
    receipt      TEXT,
    confirmed_us INTEGER
);

-- What is to be told of readings that are not there, or are not as they were; with the number of the batch it went in.
CREATE TABLE IF NOT EXISTS note (
    id     INTEGER PRIMARY KEY,
    stream INTEGER,
    seq    INTEGER,
    body   BLOB NOT NULL
);

-- Readings that the receiver will not have as they are, each alone: a segment's body with the one reading.
CREATE TABLE IF NOT EXISTS refused (
    id         INTEGER PRIMARY KEY,
    device     TEXT    NOT NULL,
    time_us    INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    status     INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    refused_us INTEGER NOT NULL
);

-- Messages that no decoder could read, the newest thousand.
CREATE TABLE IF NOT EXISTS rejected (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    topic       TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    reason      TEXT    NOT NULL,
    received_us INTEGER NOT NULL
);

-- What physics took: readings that are gone although they had been read, or lost values, and why.
CREATE TABLE IF NOT EXISTS loss (
    id          INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    readings    INTEGER NOT NULL,
    first_us    INTEGER NOT NULL,
    last_us     INTEGER NOT NULL,
    recorded_us INTEGER NOT NULL
);

-- Per MQTT client the newest deliveries whose content is committed, some in each row, the newest in its last.
CREATE TABLE IF NOT EXISTS delivered (
    id     INTEGER PRIMARY KEY,
    client TEXT NOT NULL,
    recent BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS delivered_client ON delivered (client);

-- Frames and messages as they came, the newest; only where the configuration keeps any.
CREATE TABLE IF NOT EXISTS frame (
    id      INTEGER PRIMARY KEY,
    device  TEXT    NOT NULL,
    time_us INTEGER NOT NULL,
    body    BLOB    NOT NULL
);
