//! Appends a batch in one transaction, in the order of ARCHITECTURE.md "The store".

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::rows::Many;
use super::{Store, error};
use crate::record::Record;
use crate::store::batch::{Batch, First, Known};
use crate::store::server::pool::within;
use crate::store::server::written::{Claimed, Raised, Written, claim_order, draw_and_place, number};
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
        let begun = within::<MySqlConnection, _>(lent.execute(BEGIN)).await?;
        let draw = begun.last_insert_id().cast_signed();
        let claimed = claim(&mut lent, &batch, &order, draw).await?;
        // All refusals are known before the locks, so locking and raising are one statement, and the conversations and
        // the inboxes one too: they are in byte order.
        let raised = raise(&mut lent, &batch, &claimed).await?;
        let (written, known) = claimed.write(&raised)?;
        within::<MySqlConnection, _>(write(&mut lent, &written)).await?;
        let end = AssertSqlSafe(format!("DELETE FROM draws WHERE id = {draw}; COMMIT"));
        within::<MySqlConnection, _>(lent.execute(end)).await?;
        lent.give_back();
        Ok(batch.outcomes(&known))
    }
}

/// Inserts the pairs that are new, and reads back the others.
async fn claim<'a>(
    connection: &mut MySqlConnection,
    batch: &'a Batch<'a>,
    order: &[usize],
    draw: i64,
) -> Result<Claimed<'a>, StoreError> {
    let firsts: Vec<(usize, &First<'_>)> =
        order.iter().map(|place| (*place, &batch.firsts()[*place])).collect();
    let claims = CLAIM.execute(connection, &firsts, |bound, (place, first)| {
        let record = first.record;
        bound.bind(record.local_id.as_str().as_bytes()).bind(record.sender.as_str().as_bytes());
        bound.bind(number(draw, *place)).bind(&record.hash[..]).bind(record.send_time);
        let refusal = first.refusal.as_ref();
        bound.bind(refusal.map(|refusal| refusal.code as i32)).bind(refusal.map(|refusal| &*refusal.message));
    });
    let inserted = within::<MySqlConnection, _>(claims).await?;
    let mut known = vec![None; firsts.len()];
    if inserted < firsts.len() as u64 {
        read_back(connection, batch, &firsts, draw, &mut known).await?;
    }
    Ok(Claimed::new(batch, draw, known))
}

async fn read_back(
    connection: &mut MySqlConnection,
    batch: &Batch<'_>,
    firsts: &[(usize, &First<'_>)],
    draw: i64,
    known: &mut [Option<Known>],
) -> Result<(), StoreError> {
    let rows = READ_BACK.fetch(connection, firsts, |bound, (_, first)| {
        bound.bind(first.record.local_id.as_str().as_bytes()).bind(first.record.sender.as_str().as_bytes());
    });
    let rows = within::<MySqlConnection, _>(rows).await?;
    for row in &rows {
        let pair = pair(row).map_err(error::classify)?;
        let key = |(_, first): &(usize, &First<'_>)| {
            (first.record.local_id.as_str().as_bytes(), first.record.sender.as_str().as_bytes()).cmp(&pair)
        };
        let found = firsts.binary_search_by(key);
        let place = found.map(|at| firsts[at].0);
        let place = place.map_err(|_| StoreError::Damaged("a name that was not asked for".to_owned()))?;
        let number: i64 = row.try_get(2).map_err(error::classify)?;
        if draw_and_place(number).0 != draw {
            let damaged = || Known::damaged(batch.firsts()[place].record);
            known[place] = Some(known_of(row).map_err(error::classify)?.unwrap_or_else(damaged));
        }
    }
    if rows.len() < firsts.len() {
        // Retention forgot a pair after our claim met it: the next try finds it free.
        return Err(StoreError::Passing(sqlx::Error::RowNotFound));
    }
    Ok(())
}

fn pair(row: &MySqlRow) -> Result<(&[u8], &[u8]), sqlx::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// What a row of `READ_BACK` says of a pair; `None` if it is damaged.
fn known_of(row: &MySqlRow) -> Result<Option<Known>, sqlx::Error> {
    let refused = row.try_get::<Option<i32>, _>(6)?.map(i64::from);
    Ok(Known::of_row(row.try_get(3)?, refused, row.try_get(7)?, row.try_get(4)?, row.try_get(5)?))
}

/// Locks the heads of what gets entries and raises them; then reads them, which nobody else can change now.
async fn raise(
    connection: &mut MySqlConnection,
    batch: &Batch<'_>,
    claimed: &Claimed<'_>,
) -> Result<Vec<Raised>, StoreError> {
    let name = |place: usize| batch.timelines()[place].as_str().as_bytes();
    let raises = claimed.raises();
    let rows = async {
        RAISE
            .execute(connection, &raises, |bound, (place, count)| {
                bound.bind(name(*place)).bind(*count);
            })
            .await?;
        RAISED
            .fetch(connection, &raises, |bound, (place, _)| {
                bound.bind(name(*place));
            })
            .await
    };
    let rows = within::<MySqlConnection, _>(rows).await?;
    rows.iter().map(|row| raised(batch, row)).collect::<Result<_, _>>().map_err(error::classify)
}

/// A row of `RAISED`.
fn raised(batch: &Batch<'_>, row: &MySqlRow) -> Result<Raised, sqlx::Error> {
    Raised::of_row(batch, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)
}

async fn write(connection: &mut MySqlConnection, written: &Written<'_>) -> Result<(), sqlx::Error> {
    ADD_MESSAGES
        .execute(connection, &written.messages, |bound, message| {
            bound.bind(message.id).bind(message.record.send_time).bind(message.record.expire_at);
            bound.bind(message.conv_seq.cast_signed()).bind(&message.places[..]);
            bound.bind(&message.record.encoded[..]);
        })
        .await?;
    let expiring = written.messages.iter().filter(|message| message.record.expire_at != 0);
    let mut expiring: Vec<_> = expiring.map(|message| (message.record.expire_at, message.id)).collect();
    expiring.sort_unstable();
    ADD_EXPIRING
        .execute(connection, &expiring, |bound, (expire_at, message)| {
            bound.bind(*expire_at).bind(*message);
        })
        .await?;
    ADD_ENTRIES
        .execute(connection, &written.entries, |bound, entry| {
            bound.bind(entry.timeline).bind(entry.seq.cast_signed()).bind(entry.message);
        })
        .await
        .map(drop)
}

/// The draw is the last id of the two.
const BEGIN: &str = "START TRANSACTION; INSERT INTO draws () VALUES ()";
pub(super) const CLAIM: Many = Many {
    before: "INSERT IGNORE INTO names (local_id, send_id, id, hash, send_time, refused, reason) VALUES ",
    row: "(?,?,?,?,?,?,?)",
    between: ",",
    after: "",
};
pub(super) const READ_BACK: Many = Many {
    before: "SELECT n.local_id, n.send_id, n.id, n.hash, n.send_time, coalesce(n.places, m.places), n.refused, n.reason \
             FROM names n FORCE INDEX (PRIMARY) LEFT JOIN messages m ON m.id = n.id WHERE ",
    row: "(n.local_id = ? AND n.send_id = ?)",
    between: " OR ",
    after: "",
};
pub(super) const RAISE: Many = Many {
    before: "INSERT INTO heads (name, head) VALUES ",
    row: "(?,?)",
    between: ",",
    after: " ON DUPLICATE KEY UPDATE head = head + VALUES(head)",
};
pub(super) const RAISED: Many = Many {
    before: "SELECT name, id, head FROM heads FORCE INDEX (PRIMARY) WHERE name IN (",
    row: "?",
    between: ",",
    after: ")",
};
pub(super) const ADD_MESSAGES: Many = Many {
    before: "INSERT INTO messages (id, send_time, expire_at, conv_seq, places, body) VALUES ",
    row: "(?,?,?,?,?,?)",
    between: ",",
    after: "",
};
pub(super) const ADD_EXPIRING: Many = Many {
    before: "INSERT INTO expiring (expire_at, message) VALUES ",
    row: "(?,?)",
    between: ",",
    after: "",
};
pub(super) const ADD_ENTRIES: Many = Many {
    before: "INSERT INTO entries (timeline, seq, message) VALUES ",
    row: "(?,?,?)",
    between: ",",
    after: "",
};
