-- The buffer of one gateway. A reading is in exactly one of segment, batch and refused until a receipt covers it.
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

-- One commit group: msgpack array of readings, zstd.
CREATE TABLE IF NOT EXISTS segment (
    id       INTEGER PRIMARY KEY,
    readings INTEGER NOT NULL CHECK (readings > 0),
    first_us INTEGER NOT NULL,
    last_us  INTEGER NOT NULL CHECK (last_us >= first_us),
    thinned  INTEGER NOT NULL DEFAULT 0 CHECK (thinned IN (0, 1)),
    body     BLOB    NOT NULL
);

-- Cut batches without a receipt. A row never changes; what is sent is `body`, as often as it takes.
CREATE TABLE IF NOT EXISTS batch (
    seq        INTEGER PRIMARY KEY CHECK (seq > 0),
    readings   INTEGER NOT NULL CHECK (readings > 0),
    first_us   INTEGER NOT NULL,
    last_us    INTEGER NOT NULL,
    sha256     TEXT    NOT NULL CHECK (length(sha256) = 64),
    media_type TEXT    NOT NULL,
    encoding   TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    cut_us     INTEGER NOT NULL
);

-- Batches that the receiver will not have as they are.
CREATE TABLE IF NOT EXISTS refused (
    seq        INTEGER PRIMARY KEY,
    readings   INTEGER NOT NULL,
    first_us   INTEGER NOT NULL,
    last_us    INTEGER NOT NULL,
    sha256     TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    encoding   TEXT    NOT NULL,
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

-- What physics took: readings that are gone although they had been read, and why.
CREATE TABLE IF NOT EXISTS loss (
    id          INTEGER PRIMARY KEY,
    reason      TEXT    NOT NULL,
    readings    INTEGER NOT NULL CHECK (readings > 0),
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
