-- The store's first schema. Ids and names are compared byte by byte, so they are BLOBs.

-- The life of the data, and what else there is one of.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The names of timelines. Rows elsewhere carry the number, which is a few bytes: three times as many entries in a page.
CREATE TABLE timelines (
    id   INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE
);

-- A timeline's head is the last seq of its entries, so that no row beside the entries changes with a message: the fewer
-- pages a batch changes, the faster.
CREATE TABLE entries (
    timeline INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    message  INTEGER NOT NULL,
    PRIMARY KEY (timeline, seq)
) WITHOUT ROWID;

-- The first seq that retention left, where it removed any. With no entry left, the head is one less.
CREATE TABLE floors (
    timeline INTEGER PRIMARY KEY,
    floor    INTEGER NOT NULL
);

-- A message as long as an entry leads to it. Its body is NULL once it expired.
CREATE TABLE messages (
    id        INTEGER PRIMARY KEY,
    send_time INTEGER NOT NULL,
    expire_at INTEGER NOT NULL,
    conv_seq  INTEGER NOT NULL,
    body      BLOB
);

CREATE INDEX messages_to_expire ON messages (expire_at) WHERE expire_at <> 0 AND body IS NOT NULL;

-- What is remembered of a message so that a repeat is answered like the first (invariant 4), after its body went too.
-- `placements` are its timelines and seqs; of a refused one it is NULL, and `refused` and `reason` say why.
CREATE TABLE names (
    id         INTEGER PRIMARY KEY,
    local_id   BLOB NOT NULL,
    send_id    BLOB NOT NULL,
    hash       BLOB NOT NULL,
    send_time  INTEGER NOT NULL,
    placements BLOB,
    refused    INTEGER,
    reason     TEXT
);

-- local_id first: a UUIDv7 begins with its time, so that new rows of all senders go to the same few pages.
CREATE UNIQUE INDEX names_by_pair ON names (local_id, send_id);

CREATE TABLE cursors (
    user_id   BLOB NOT NULL,
    device_id BLOB NOT NULL,
    cursor    INTEGER NOT NULL,
    used_at   INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITHOUT ROWID;
