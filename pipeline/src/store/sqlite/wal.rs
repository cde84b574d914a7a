//! The write-ahead log, kept short beside the commits.
//!
//! A commit goes to the log. A checkpoint writes the log's pages back to the database, and once all are written and
//! nobody reads from the log, the next commit starts it over. SQLite would do that within a commit, which then takes tens
//! of milliseconds. A checkpoint beside the commits never gets to the end of the log while they go on, so here it is two
//! steps: passes beside the commits, each with a sync of the database, until little is left; then that little between
//! two transactions, with the writer held.
//!
//! A reader keeps what it reads from being written over, so the log grows for as long as it reads. Our own readers have a
//! time limit. For others, and for when nobody runs the passes, there are two further marks: the writer shortens the log
//! itself, and at last it takes nothing more.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::fs::{File, OpenOptions};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{sleep, timeout};

use super::row::integer;
use super::{WAIT, error};
use crate::store::StoreError;

/// The log, and the connection that writes it back.
#[derive(Debug)]
pub(super) struct Wal {
    options: SqliteConnectOptions,
    slot: Mutex<Slot>,
    /// Only to sync it. SQLite syncs it only at the end of the log, and then everything at once. Closing any handle of a
    /// file ends the process's locks on it (POSIX), so this one stays open as long as the connections.
    database: File,
    marks: Marks,
    length: Length,
    due: Notify,
}

#[derive(Debug)]
enum Slot {
    Open(SqliteConnection),
    /// Not opened yet, in use, or given up.
    Empty,
    Closed,
}

/// At which length of the log what is done, in pages.
#[derive(Debug, Clone, Copy)]
struct Marks {
    /// It is written back beside the commits.
    due: u32,
    /// The writer shortens it before its next transaction.
    long: u32,
    /// No transaction begins.
    full: u32,
}

/// How long the log is.
#[derive(Debug)]
struct Length {
    /// Changed only by who holds the writer.
    pages: AtomicU32,
    /// At how many pages to try next to start it over.
    next: AtomicU32,
}

/// What a transaction that is about to begin needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// The log should be shorter.
    Shorter,
    /// The log must be shorter.
    Room,
}

/// How far a checkpoint came.
struct Pass {
    /// Pages of the log that are written back now.
    written: u32,
    /// Everything that was there when it began.
    whole: bool,
}

impl Wal {
    /// Of the database at `path`, which exists. It is written back from about `due_bytes` on, by a connection with
    /// `options`.
    pub(super) async fn new(
        path: &Path,
        due_bytes: u64,
        options: SqliteConnectOptions,
    ) -> Result<Self, std::io::Error> {
        let due = u32::try_from(due_bytes / PAGE_BYTES).unwrap_or(u32::MAX / FULL_OVER_DUE).max(4);
        Ok(Self {
            options: options.busy_timeout(READERS_MAY_TAKE),
            slot: Mutex::new(Slot::Empty),
            database: OpenOptions::new().read(true).write(true).open(path).await?,
            marks: Marks {
                due,
                long: due.saturating_mul(LONG_OVER_DUE),
                full: due.saturating_mul(FULL_OVER_DUE),
            },
            length: Length { pages: AtomicU32::new(0), next: AtomicU32::new(due) },
            due: Notify::new(),
        })
    }

    /// Notes the length after a commit, from the rows of `LENGTH`.
    pub(super) fn committed(&self, rows: Option<&[SqliteRow]>) {
        let pages = rows.and_then(<[_]>::first).and_then(|row| integer(row, 1).ok());
        let pages = pages.and_then(|pages| u32::try_from(pages).ok()).unwrap_or(0);
        self.length.pages.store(pages, Ordering::Relaxed);
        if self.length.is_due() {
            self.due.notify_one();
        }
    }

    /// What the next transaction needs. The caller holds the writer.
    pub(super) fn need(&self) -> Need {
        match self.length.pages() {
            pages if pages >= self.marks.full => Need::Room,
            pages if pages >= self.marks.long && self.length.is_due() => Need::Shorter,
            _ => Need::Nothing,
        }
    }

    /// Waits until the log is so long that it is to be written back. Cancel safe.
    pub(super) async fn due(&self) {
        while !self.length.is_due() {
            self.due.notified().await;
        }
    }

    /// Writes back beside the commits until little is left; whether it came so far.
    pub(super) async fn catch_up(&self) -> Result<bool, StoreError> {
        let (mut written, mut blocked) = (0, false);
        for _ in 0..PASSES {
            let pass = self.checkpoint(PASSIVE).await?;
            if pass.written != written {
                self.database.sync_data().await.map_err(passing)?;
                written = pass.written;
            }
            if self.length.pages().saturating_sub(written) <= FEW_PAGES {
                return Ok(true);
            }
            blocked = !pass.whole;
            if blocked {
                sleep(READERS_MAY_TAKE).await;
            }
        }
        // That commits outpace the passes is a reason to hold the writer; that a reader is in the way is none.
        if blocked {
            self.length.try_later(self.marks.due);
        }
        Ok(!blocked)
    }

    /// Writes back all there is, so that the next commit starts the log over. The caller holds the writer. Waits a moment
    /// for readers; that they take longer is an error only if the log is full.
    pub(super) async fn start_over(&self) -> Result<(), StoreError> {
        let pass = self.checkpoint(RESTART).await;
        if let Ok(Pass { whole: true, .. }) = pass {
            self.length.pages.store(0, Ordering::Relaxed);
            self.length.next.store(self.marks.due, Ordering::Relaxed);
            return Ok(());
        }
        self.length.try_later(self.marks.due);
        pass?;
        match self.need() {
            Need::Room => Err(passing(std::io::Error::other(
                "the write-ahead log is full: something reads the database for long and keeps it from being written back",
            ))),
            Need::Nothing | Need::Shorter => Ok(()),
        }
    }

    /// Waits for the pass in hand and closes the connection.
    pub(super) async fn close(&self) {
        let last = std::mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Open(connection) = last {
            // What is wrong with the file, closing the writer says.
            let _ = connection.close().await;
        }
    }

    async fn checkpoint(&self, sql: &'static str) -> Result<Pass, StoreError> {
        let mut slot = self.lend().await?;
        let mut connection = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Open(connection) => connection,
            Slot::Empty | Slot::Closed => self.options.connect().await.map_err(error::classify)?,
        };
        let row = sqlx::query(sql).fetch_one(&mut connection).await.map_err(error::classify)?;
        *slot = Slot::Open(connection);
        let [busy, pages, written] = [integer(&row, 0)?, integer(&row, 1)?, integer(&row, 2)?];
        // Both are -1 if another process is at it.
        let whole = busy == 0 && pages == written && pages >= 0;
        Ok(Pass { written: u32::try_from(written).unwrap_or(0), whole })
    }

    async fn lend(&self) -> Result<MutexGuard<'_, Slot>, StoreError> {
        let busy = |_| StoreError::Passing(sqlx::Error::PoolTimedOut);
        let slot = timeout(WAIT, self.slot.lock()).await.map_err(busy)?;
        match *slot {
            Slot::Open(_) | Slot::Empty => Ok(slot),
            Slot::Closed => Err(StoreError::Passing(sqlx::Error::PoolClosed)),
        }
    }
}

impl Length {
    fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    fn is_due(&self) -> bool {
        self.pages() >= self.next.load(Ordering::Relaxed)
    }

    /// A try did not succeed: the next one comes when the log has grown by a part of `due`.
    fn try_later(&self, due: u32) {
        self.next.store(self.pages().saturating_add(due / 4).max(due), Ordering::Relaxed);
    }
}

fn passing(error: std::io::Error) -> StoreError {
    StoreError::Passing(sqlx::Error::Io(error))
}

/// The length of the log and how much of it is written back, as the second and third column. It takes no lock and does no
/// work (SQLite 3.51; an older one takes the word for PASSIVE).
pub(super) const LENGTH: &str = "PRAGMA wal_checkpoint(NOOP)";
const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";

/// SQLite's usual size of a page.
const PAGE_BYTES: u64 = 4_096;
/// Passes beside the commits take tens of milliseconds, in which the log does not grow fourfold.
const LONG_OVER_DUE: u32 = 4;
/// 1 GiB where it is due at 16 MiB.
const FULL_OVER_DUE: u32 = 64;
/// What may be left for the time the writer is held: about a millisecond.
const FEW_PAGES: u32 = 128;
/// Each leaves what was committed while it ran, so the rest shrinks by half or more at a time.
const PASSES: usize = 6;
/// How long the writer is held for those who read from the log; a page of a timeline takes under a millisecond.
const READERS_MAY_TAKE: Duration = Duration::from_millis(10);
