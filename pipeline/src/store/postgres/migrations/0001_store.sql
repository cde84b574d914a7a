-- The store's first schema. Ids and names are compared byte by byte: COLLATE "C".

-- The life of the data, and what else there is one of. The row 'retention' is the lock of retention.
CREATE TABLE meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

-- A batch's draw and the place in the batch make the number of a message.
CREATE SEQUENCE draws AS BIGINT MAXVALUE 140737488355327;

-- A timeline's last seq, and the first one that retention left. Rows elsewhere carry the number. An append changes head,
-- which no index has, so there is room in a page for its next versions.
CREATE TABLE heads (
    name  TEXT COLLATE "C" PRIMARY KEY,
    id    BIGINT GENERATED ALWAYS AS IDENTITY,
    head  BIGINT NOT NULL,
    floor BIGINT NOT NULL DEFAULT 1
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX heads_by_id ON heads (id);

CREATE TABLE entries (
    timeline BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    message  BIGINT NOT NULL,
    PRIMARY KEY (timeline, seq)
);

-- A message as long as an entry leads to it. `places` are its timelines and seqs. Its body is NULL once it expired.
CREATE TABLE messages (
    id        BIGINT PRIMARY KEY,
    send_time BIGINT NOT NULL,
    expire_at BIGINT NOT NULL,
    conv_seq  BIGINT NOT NULL,
    places    BYTEA NOT NULL,
    body      BYTEA
);

-- The messages that expire, until they are emptied.
CREATE TABLE expiring (
    expire_at BIGINT NOT NULL,
    message   BIGINT NOT NULL,
    PRIMARY KEY (expire_at, message)
);

-- What is remembered of a message so that a repeat is answered like the first (invariant 4), after its body went too. A
-- row is a claim: it is inserted before anything else of its message. As long as the message is there, that has the
-- places; `refused` and `reason` say why there never was one.
--
-- local_id first: a UUIDv7 begins with its time, so that new rows of all senders go to the same few pages.
CREATE TABLE names (
    local_id  TEXT COLLATE "C" NOT NULL,
    send_id   TEXT COLLATE "C" NOT NULL,
    id        BIGINT NOT NULL,
    hash      BYTEA NOT NULL,
    send_time BIGINT NOT NULL,
    places    BYTEA,
    refused   INTEGER,
    reason    TEXT,
    PRIMARY KEY (local_id, send_id)
);

CREATE UNIQUE INDEX names_by_id ON names (id);

CREATE TABLE cursors (
    user_id   TEXT COLLATE "C" NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    cursor    BIGINT NOT NULL,
    used_at   BIGINT NOT NULL,
    used_day  BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITH (fillfactor = 70);

CREATE INDEX cursors_by_day ON cursors (used_day);
