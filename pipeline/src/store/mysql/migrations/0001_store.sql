-- The store's first schema. Ids and names are compared byte by byte: VARBINARY. Where rows are claimed or locked by their
-- name, the name is the primary key and no other index is unique: InnoDB locks the gaps beside a duplicate of a secondary
-- unique index, and writers that are beside each other there would deadlock.

-- The life of the data, and what else there is one of. The row 'retention' is the lock of retention.
CREATE TABLE meta (
    name  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    value VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Where draws come from: a batch's draw and the place in the batch make the number of a message. Its rows go with the
-- transaction that made them; what stays is the counter.
CREATE TABLE draws (
    id BIGINT NOT NULL AUTO_INCREMENT,
    PRIMARY KEY (id)
) ENGINE = InnoDB;

-- A timeline's last seq, and the first one that retention left. Rows elsewhere carry the number. d:, two ids and a colon
-- are 131 bytes.
CREATE TABLE heads (
    name  VARBINARY(160) NOT NULL,
    id    BIGINT NOT NULL AUTO_INCREMENT,
    head  BIGINT NOT NULL,
    floor BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (name),
    KEY heads_by_id (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE entries (
    timeline BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    message  BIGINT NOT NULL,
    PRIMARY KEY (timeline, seq)
) ENGINE = InnoDB;

-- A message as long as an entry leads to it. `places` are its timelines and seqs. Its body is NULL once it expired.
CREATE TABLE messages (
    id        BIGINT NOT NULL,
    send_time BIGINT NOT NULL,
    expire_at BIGINT NOT NULL,
    conv_seq  BIGINT NOT NULL,
    places    BLOB NOT NULL,
    body      MEDIUMBLOB,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The messages that expire, until they are emptied.
CREATE TABLE expiring (
    expire_at BIGINT NOT NULL,
    message   BIGINT NOT NULL,
    PRIMARY KEY (expire_at, message)
) ENGINE = InnoDB;

-- What is remembered of a message so that a repeat is answered like the first (invariant 4), after its body went too. A
-- row is a claim: it is inserted before anything else of its message. As long as the message is there, that has the
-- places; `refused` and `reason` say why there never was one.
--
-- local_id first: a UUIDv7 begins with its time, so that new rows of all senders go to the same few pages.
CREATE TABLE names (
    local_id  VARBINARY(64) NOT NULL,
    send_id   VARBINARY(64) NOT NULL,
    id        BIGINT NOT NULL,
    hash      VARBINARY(32) NOT NULL,
    send_time BIGINT NOT NULL,
    places    BLOB,
    refused   INT,
    reason    VARCHAR(255) CHARACTER SET utf8mb4,
    PRIMARY KEY (local_id, send_id),
    KEY names_by_id (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE cursors (
    user_id   VARBINARY(64) NOT NULL,
    device_id VARBINARY(64) NOT NULL,
    seq       BIGINT NOT NULL,
    used_at   BIGINT NOT NULL,
    used_day  BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id),
    KEY cursors_by_day (used_day)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
