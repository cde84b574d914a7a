-- A message with its name and its entries, as one row to insert: a message that arrives alone is then one statement, which
-- is its own transaction. SQLite's thread answers each statement by itself, and each answer may wake a thread.
CREATE VIEW appended AS SELECT
    NULL AS id, NULL AS local_id, NULL AS send_id, NULL AS hash, NULL AS send_time, NULL AS placements,
    NULL AS expire_at, NULL AS body,
    NULL AS conversation, NULL AS conv_seq, NULL AS inbox, NULL AS seq, NULL AS other_inbox, NULL AS other_seq;

CREATE TRIGGER append INSTEAD OF INSERT ON appended BEGIN
    INSERT INTO names (id, local_id, send_id, hash, send_time, placements)
        VALUES (NEW.id, NEW.local_id, NEW.send_id, NEW.hash, NEW.send_time, NEW.placements);
    INSERT INTO messages (id, send_time, expire_at, conv_seq, body)
        VALUES (NEW.id, NEW.send_time, NEW.expire_at, NEW.conv_seq, NEW.body);
    INSERT INTO entries (timeline, seq, message) VALUES (NEW.conversation, NEW.conv_seq, NEW.id);
    INSERT INTO entries (timeline, seq, message) SELECT NEW.inbox, NEW.seq, NEW.id WHERE NEW.inbox IS NOT NULL;
    INSERT INTO entries (timeline, seq, message)
        SELECT NEW.other_inbox, NEW.other_seq, NEW.id WHERE NEW.other_inbox IS NOT NULL;
END;
