//! Appends a batch in one transaction, in the order of ARCHITECTURE.md "The store".

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};

use super::{Store, error};
use crate::record::Record;
use crate::store::batch::{Batch, First, Known};
use crate::store::server::pool::within;
use crate::store::server::written::{Claimed, Raised, Written, claim_order, draw_and_place};
use crate::store::{Outcome, StoreError};

impl Store {
    /// See [`crate::store::Store::append`].
    pub(in crate::store) async fn append(&self, records: &[&Record]) -> Result<Vec<Outcome>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Batch::new(records);
        let order = claim_order(&batch)?;
        let mut lent = self.pool.lend().await?;
        within::<PgConnection, _>(lent.execute("BEGIN")).await?;
        let claimed = claim(&mut lent, &batch, &order).await?;
        // All refusals are known before the locks, so locking and raising are one statement, and the conversations and
        // the inboxes one too: they are in byte order.
        let raised = raise(&mut lent, &batch, &claimed).await?;
        let (written, known) = claimed.write(&raised)?;
        write(&mut lent, &written).await?;
        within::<PgConnection, _>(lent.execute("COMMIT")).await?;
        lent.give_back();
        Ok(batch.outcomes(&known))
    }
}

/// Inserts the pairs that are new, and reads back the others.
async fn claim<'a>(
    connection: &mut PgConnection,
    batch: &'a Batch<'a>,
    order: &[usize],
) -> Result<Claimed<'a>, StoreError> {
    let firsts: Vec<&First<'_>> = order.iter().map(|place| &batch.firsts()[*place]).collect();
    let records: Vec<&Record> = firsts.iter().map(|first| first.record).collect();
    let refusals = || firsts.iter().map(|first| first.refusal.as_ref());
    let query = sqlx::query_scalar::<_, i64>(CLAIM)
        .bind(records.iter().map(|record| record.local_id.as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.sender.as_str()).collect::<Vec<_>>())
        .bind(order.iter().map(|place| *place as i64).collect::<Vec<_>>())
        .bind(records.iter().map(|record| &record.hash[..]).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.send_time).collect::<Vec<_>>())
        .bind(refusals().map(|refusal| Some(refusal?.code as i32)).collect::<Vec<_>>())
        .bind(refusals().map(|refusal| Some(refusal?.message.as_str())).collect::<Vec<_>>());
    let mut draw = 0;
    let mut is_new = vec![false; batch.firsts().len()];
    for number in within::<PgConnection, _>(query.fetch_all(&mut *connection)).await? {
        let place;
        (draw, place) = draw_and_place(number);
        is_new[place] = true;
    }
    let mut known = vec![None; is_new.len()];
    let others: Vec<usize> = (0..is_new.len()).filter(|place| !is_new[*place]).collect();
    if !others.is_empty() {
        read_back(connection, batch, &others, &mut known).await?;
    }
    Ok(Claimed::new(batch, draw, known))
}

async fn read_back(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    others: &[usize],
    known: &mut [Option<Known>],
) -> Result<(), StoreError> {
    let records: Vec<&Record> = others.iter().map(|place| batch.firsts()[*place].record).collect();
    let query = sqlx::query(READ_BACK)
        .bind(others.iter().map(|place| *place as i64).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.local_id.as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.sender.as_str()).collect::<Vec<_>>());
    let rows = within::<PgConnection, _>(query.fetch_all(connection)).await?;
    for row in &rows {
        let place = row.try_get::<i64, _>(0).map_err(error::classify)? as usize;
        let damaged = || Known::damaged(batch.firsts()[place].record);
        known[place] = Some(known_of(row).map_err(error::classify)?.unwrap_or_else(damaged));
    }
    if rows.len() < others.len() {
        // Retention forgot a pair after our claim met it: the next try finds it free.
        return Err(StoreError::Passing(sqlx::Error::RowNotFound));
    }
    Ok(())
}

/// What a row of `READ_BACK` says of a pair; `None` if it is damaged.
fn known_of(row: &PgRow) -> Result<Option<Known>, sqlx::Error> {
    let refused = row.try_get::<Option<i32>, _>(4)?.map(i64::from);
    Ok(Known::of_row(row.try_get(1)?, refused, row.try_get(5)?, row.try_get(2)?, row.try_get(3)?))
}

/// Locks the heads of what gets entries and raises them.
async fn raise(
    connection: &mut PgConnection,
    batch: &Batch<'_>,
    claimed: &Claimed<'_>,
) -> Result<Vec<Raised>, StoreError> {
    let raises = claimed.raises();
    if raises.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query(RAISE)
        .bind(raises.iter().map(|(place, _)| batch.timelines()[*place].as_str()).collect::<Vec<_>>())
        .bind(raises.iter().map(|(_, count)| *count).collect::<Vec<_>>());
    let rows = within::<PgConnection, _>(query.fetch_all(connection)).await?;
    rows.iter().map(|row| raised(batch, row)).collect::<Result<_, _>>().map_err(error::classify)
}

/// A row of `RAISE`.
fn raised(batch: &Batch<'_>, row: &PgRow) -> Result<Raised, sqlx::Error> {
    Raised::of_row(batch, row.try_get::<&str, _>(0)?.as_bytes(), row.try_get(1)?, row.try_get(2)?)
}

async fn write(connection: &mut PgConnection, written: &Written<'_>) -> Result<(), StoreError> {
    if written.messages.is_empty() {
        return Ok(());
    }
    let (messages, entries) = (&written.messages, &written.entries);
    let query = sqlx::query(WRITE)
        .bind(messages.iter().map(|message| message.id).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.record.send_time).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.record.expire_at).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.conv_seq.cast_signed()).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| &message.places[..]).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| &message.record.encoded[..]).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.timeline).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.seq.cast_signed()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.message).collect::<Vec<_>>());
    within::<PgConnection, _>(query.execute(connection)).await.map(drop)
}

// The arrays are in key order already; ORDER BY makes it a promise. 65536: written::MAX_RECORDS.
pub(super) const CLAIM: &str = "WITH draw AS MATERIALIZED (SELECT nextval('draws') AS draw) \
     INSERT INTO names (local_id, send_id, id, hash, send_time, refused, reason) \
     SELECT v.local_id, v.send_id, draw.draw * 65536 + v.place, v.hash, v.send_time, v.refused, v.reason \
     FROM draw CROSS JOIN unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::int[], $7::text[]) \
     AS v (local_id, send_id, place, hash, send_time, refused, reason) \
     ORDER BY v.local_id COLLATE \"C\", v.send_id COLLATE \"C\" ON CONFLICT DO NOTHING RETURNING id";
pub(super) const READ_BACK: &str = "SELECT v.place, n.hash, n.send_time, coalesce(n.places, m.places), n.refused, n.reason \
     FROM unnest($1::bigint[], $2::text[], $3::text[]) AS v (place, local_id, send_id) \
     JOIN names n ON n.local_id = v.local_id AND n.send_id = v.send_id LEFT JOIN messages m ON m.id = n.id";
pub(super) const RAISE: &str = "INSERT INTO heads (name, head) \
     SELECT v.name, v.count FROM unnest($1::text[], $2::bigint[]) AS v (name, count) ORDER BY v.name COLLATE \"C\" \
     ON CONFLICT (name) DO UPDATE SET head = heads.head + excluded.head RETURNING name, id, head";
pub(super) const WRITE: &str = "WITH v AS MATERIALIZED ( \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[]) \
     AS v (id, send_time, expire_at, conv_seq, places, body)), \
     message AS (INSERT INTO messages (id, send_time, expire_at, conv_seq, places, body) SELECT * FROM v), \
     expiring AS (INSERT INTO expiring (expire_at, message) SELECT expire_at, id FROM v WHERE expire_at <> 0) \
     INSERT INTO entries (timeline, seq, message) SELECT * FROM unnest($7::bigint[], $8::bigint[], $9::bigint[])";
