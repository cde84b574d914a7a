//! The store: the truth (ARCHITECTURE.md invariant 1). Timelines with dense seqs, messages by (send_id, local_id),
//! cursors, the epoch.
//!
//! One enum over the engines, each with hand-written SQL and migrations of its own; `contract` is the suite that every
//! engine passes. Operations are coarse: append a batch, read a page, heads, cursors, retention (ARCHITECTURE.md "The
//! store").

pub mod mysql;
pub mod postgres;
pub mod sqlite;

mod age;
mod batch;
mod channels;
mod page;
mod places;
mod server;

pub use server::guard::{GuardError, Sharing};
pub use server::look::Look;
pub use server::open::OpenError;

#[cfg(test)]
mod contract;

use smallvec::SmallVec;
use tidegate_proto::Refusal;
use tidegate_proto::id::{DeviceId, LocalId, UserId};
use tidegate_proto::timeline::Timeline;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::channels::Rules;
use crate::record::Record;

/// The store, on one of the engines. Cheap to clone.
///
/// The futures of the servers are large and boxed, so that whoever waits for the embedded one does not carry them.
///
/// A future that is dropped midway leaves nothing half done: what was not committed is rolled back. Whether an append
/// was, is unknown then; the same records again are answered like the first time.
#[derive(Debug, Clone)]
pub enum Store {
    /// SQLite, embedded.
    Sqlite(sqlite::Store),
    /// PostgreSQL, with other processes beside this one.
    Postgres(postgres::Store),
    /// MySQL or MariaDB, with other processes beside this one.
    MySql(mysql::Store),
}

impl Store {
    /// Connects to a database on a server, at most so many times at once: `postgres://…` (or `postgresql://…`), or
    /// `mysql://…` (or `mariadb://…`), with user, password, host, port and database. What it needs in there it makes.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, OpenError> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let url = url.to_owned();
        match scheme {
            "postgres" | "postgresql" => {
                postgres::Store::open(&postgres::Config { url, connections }).await.map(Self::Postgres)
            }
            "mysql" | "mariadb" => {
                mysql::Store::open(&mysql::Config { url, connections }).await.map(Self::MySql)
            }
            _ => Err(OpenError::Unknown),
        }
    }

    /// Keeps processes off the database that would not push to each other, for as long as what it returns is kept. A file
    /// needs none: its folder is locked.
    pub async fn guard(&self, sharing: Sharing) -> Result<Guard, GuardError> {
        match self {
            Self::Sqlite(_) => Ok(Guard::Needless),
            Self::Postgres(store) => Box::pin(store.guard(sharing)).await.map(Guard::Postgres),
            Self::MySql(store) => Box::pin(store.guard(sharing)).await.map(Guard::MySql),
        }
    }

    /// Looks at a database as [`Store::connect`] would use it, and changes nothing.
    pub async fn look(url: &str) -> Result<Look, OpenError> {
        let config = server::config::Config::new(url);
        match url.split_once("://").map_or("", |(scheme, _)| scheme) {
            "postgres" | "postgresql" => postgres::look(&config).await,
            "mysql" | "mariadb" => mysql::look(&config).await,
            _ => Err(OpenError::Unknown),
        }
    }

    /// Appends records in their order, all or nothing; what became of each, in the same order.
    ///
    /// When it returns, the batch is on disk. It is one transaction, so it should have at most some 20,000 entries.
    pub async fn append(&self, records: &[&Record]) -> Result<Vec<Outcome>, StoreError> {
        match self {
            Self::Sqlite(store) => store.append(records).await,
            Self::Postgres(store) => Box::pin(store.append(records)).await,
            Self::MySql(store) => Box::pin(store.append(records)).await,
        }
    }

    /// A page of at most `limit` entries and about `max_bytes`, but of at least one entry if there is any.
    ///
    /// A range that begins below the floor begins at the floor: compare with the page's bounds. `now_ms`, since 1970,
    /// decides what has expired.
    pub async fn page(
        &self,
        timeline: &Timeline,
        range: Range,
        limit: usize,
        max_bytes: usize,
        now_ms: i64,
    ) -> Result<Page, StoreError> {
        match self {
            Self::Sqlite(store) => store.page(timeline, range, limit, max_bytes, now_ms).await,
            Self::Postgres(store) => Box::pin(store.page(timeline, range, limit, max_bytes, now_ms)).await,
            Self::MySql(store) => Box::pin(store.page(timeline, range, limit, max_bytes, now_ms)).await,
        }
    }

    /// What a session of `user` on `device` starts from.
    pub async fn inbox(&self, user: &UserId, device: &DeviceId) -> Result<Inbox, StoreError> {
        match self {
            Self::Sqlite(store) => store.inbox(user, device).await,
            Self::Postgres(store) => Box::pin(store.inbox(user, device)).await,
            Self::MySql(store) => Box::pin(store.inbox(user, device)).await,
        }
    }

    /// The bounds of each timeline, in the same order. One that has no entry yet has head 0 and floor 1.
    pub async fn heads(&self, timelines: &[Timeline]) -> Result<Vec<Bounds>, StoreError> {
        match self {
            Self::Sqlite(store) => store.heads(timelines).await,
            Self::Postgres(store) => Box::pin(store.heads(timelines)).await,
            Self::MySql(store) => Box::pin(store.heads(timelines)).await,
        }
    }

    /// The seq of a message in its conversation, once it is stored and as long as it is kept.
    pub async fn conv_seq(&self, sender: &UserId, local_id: &LocalId) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Sqlite(store) => store.conv_seq(sender, local_id).await,
            Self::Postgres(store) => Box::pin(store.conv_seq(sender, local_id)).await,
            Self::MySql(store) => Box::pin(store.conv_seq(sender, local_id)).await,
        }
    }

    /// Keeps the cursors that are greater than those it has, and that all of them were used at `now_ms`.
    pub async fn save_cursors(&self, cursors: &[CursorUpdate], now_ms: i64) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.save_cursors(cursors, now_ms).await,
            Self::Postgres(store) => Box::pin(store.save_cursors(cursors, now_ms)).await,
            Self::MySql(store) => Box::pin(store.save_cursors(cursors, now_ms)).await,
        }
    }

    /// The name of the life of the data: drawn when it was made, and by `new_epoch`.
    pub async fn epoch(&self) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(store) => store.epoch().await,
            Self::Postgres(store) => Box::pin(store.epoch()).await,
            Self::MySql(store) => Box::pin(store.epoch()).await,
        }
    }

    /// Draws a new epoch, as is due after a restore from a back-up.
    pub async fn new_epoch(&self) -> Result<String, StoreError> {
        match self {
            Self::Sqlite(store) => store.new_epoch().await,
            Self::Postgres(store) => Box::pin(store.new_epoch()).await,
            Self::MySql(store) => Box::pin(store.new_epoch()).await,
        }
    }

    /// One step of retention, of at most `budget` rows: bodies that expired, entries by age and by count, names,
    /// cursors. Appends go in between two steps.
    ///
    /// Call it again until it removed nothing: then everything has been looked at.
    pub async fn retain(
        &self,
        retention: Retention,
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError> {
        match self {
            Self::Sqlite(store) => store.retain(retention, now_ms, budget).await,
            Self::Postgres(store) => Box::pin(store.retain(retention, now_ms, budget)).await,
            Self::MySql(store) => Box::pin(store.retain(retention, now_ms, budget)).await,
        }
    }

    /// One step of the retention of channels, by the rule of each, and what is remembered of their messages for
    /// `remember_ms`; as with [`Store::retain`].
    pub async fn retain_channels(
        &self,
        rules: &Rules,
        remember_ms: u64,
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError> {
        let kept = (rules, remember_ms);
        match self {
            Self::Sqlite(store) => store.retain_channels(kept, now_ms, budget).await,
            Self::Postgres(store) => Box::pin(store.retain_channels(kept, now_ms, budget)).await,
            Self::MySql(store) => Box::pin(store.retain_channels(kept, now_ms, budget)).await,
        }
    }

    /// Does what goes on beside the calls, until `stop`: on SQLite, writing the log back. Without it everything still
    /// works, but some appends take much longer.
    pub async fn keep_up(&self, stop: &CancellationToken) {
        match self {
            Self::Sqlite(store) => store.keep_up(stop).await,
            // A server does it by itself.
            Self::Postgres(_) | Self::MySql(_) => stop.cancelled().await,
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.ping().await,
            Self::Postgres(store) => Box::pin(store.ping()).await,
            Self::MySql(store) => Box::pin(store.ping()).await,
        }
    }

    /// Waits for the transaction in hand and closes everything. Later calls, of its clones too, fail with `Passing`.
    pub async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => Box::pin(store.close()).await,
            Self::MySql(store) => Box::pin(store.close()).await,
        }
    }
}

/// What keeps other processes off a database while this one runs; see [`Store::guard`].
#[derive(Debug)]
pub enum Guard {
    /// Nothing needs to.
    Needless,
    /// A lock of PostgreSQL's.
    Postgres(server::guard::Guard<sqlx::PgConnection>),
    /// Locks of MySQL's or MariaDB's.
    MySql(server::guard::Guard<sqlx::MySqlConnection>),
}

impl Guard {
    /// Keeps it until `stop`. Should the connection be lost, this process goes on, and takes the lock again.
    pub async fn keep(self, stop: &CancellationToken) {
        match self {
            Self::Needless => stop.cancelled().await,
            Self::Postgres(guard) => Box::pin(guard.keep(stop)).await,
            Self::MySql(guard) => Box::pin(guard.keep(stop)).await,
        }
    }
}

/// What became of one record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, now or since an earlier time.
    Stored(Stored),
    /// It is refused for good: CONFLICT, or PERMISSION_DENIED.
    Refused(Refusal),
}

/// Where a stored message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whether it was there before: the record is a repeat.
    pub repeated: bool,
    /// ms since 1970; of a repeat, that of the first.
    pub send_time: i64,
    /// Its seq in the conversation.
    pub conv_seq: u64,
    /// Its seq in each inbox.
    pub inboxes: SmallVec<[(UserId, u64); 2]>,
}

impl Stored {
    /// The message's seq in `user`'s inbox.
    pub fn seq_of(&self, user: &UserId) -> Option<u64> {
        self.inboxes.iter().find(|(owner, _)| owner == user).map(|(_, seq)| *seq)
    }
}

/// Which part of a timeline to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Entries with a greater seq, the lowest first chosen.
    After(u64),
    /// Entries with a smaller seq, the highest first chosen. In the page they stand in rising order too.
    Before(u64),
}

/// A bounded piece of a timeline, read in one snapshot.
#[derive(Debug, Clone)]
pub struct Page {
    /// In rising order of seq, without a hole within the page.
    pub entries: Vec<(u64, PageEntry)>,
    /// The timeline's head and floor in the same snapshot.
    pub bounds: Bounds,
    /// There are further entries in the direction asked for.
    pub more: bool,
}

/// An entry as a page has it.
#[derive(Debug, Clone)]
pub enum PageEntry {
    /// The message.
    Msg(Body),
    /// Expired or deleted: only its seq is left.
    Gone,
}

/// A timeline's last seq, and the first one that is still there. Of an empty timeline: 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The last seq given; 0: none yet.
    pub head: u64,
    /// The first seq that retention has left; at most head + 1.
    pub floor: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { head: 0, floor: 1 }
    }
}

/// What a session starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inbox {
    /// The device's stored cursor; none for a device never seen.
    pub cursor: Option<u64>,
    /// The inbox's head and floor.
    pub bounds: Bounds,
}

/// A device's cursor to be kept. Stored cursors only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorUpdate {
    /// Whose.
    pub user: UserId,
    /// Which device's.
    pub device: DeviceId,
    /// The seq up to which the device has everything.
    pub cursor: u64,
}

/// How long and how much of timelines is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Entries older than this are removed, by send_time; `None`: at no age.
    pub max_age_ms: Option<u64>,
    /// Beyond this many entries of a timeline the oldest are removed; `None`: at no count.
    pub max_entries: Option<u64>,
    /// For how long (send_id, local_id) is remembered after a message was sent (ARCHITECTURE.md invariant 4).
    pub remember_ms: u64,
    /// Cursors unused for this long are dropped.
    pub cursor_ms: u64,
}

/// What a step of retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Entries of timelines.
    pub entries: u64,
    /// Bodies of messages.
    pub bodies: u64,
    /// Remembered pairs (send_id, local_id).
    pub names: u64,
    /// Cursors.
    pub cursors: u64,
}

impl Removed {
    /// Whether the step found nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may work when tried again, perhaps after somebody has mended something: locked, connection lost, disk full,
    /// closed in the meantime, a right or a table missing, an error that is not foreseen.
    #[error("the store cannot take this for now")]
    Passing(#[source] sqlx::Error),
    /// The engine refuses this data, by what can be nothing but the data's own fault; trying again does not help.
    #[error("the store refuses this")]
    Refused(#[source] sqlx::Error),
    /// What is stored is not what this program writes.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}
