//! Opens a database: settings of its connections, schema, epoch.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _};

use super::readers::Readers;
use super::wal::Wal;
use super::writer::Writer;
use super::{OpenError, Store, epoch};

/// Where a database is, and how much memory its connections use.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database's file. It and its folder are made if absent.
    pub path: PathBuf,
    /// How many connections read.
    pub readers: usize,
    /// The most memory the writer's page cache takes.
    pub writer_cache_bytes: u64,
    /// The most memory each reader's page cache takes.
    pub reader_cache_bytes: u64,
    /// From about which length on the write-ahead log is written back. It takes about four times that should
    /// [`keep_up`](crate::store::Store::keep_up) not run, and about 64 times that while something reads the database for
    /// long; then appends wait.
    pub wal_bytes: u64,
}

impl Config {
    /// The usual settings for a database at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: 4,
            writer_cache_bytes: WRITER_CACHE_BYTES,
            reader_cache_bytes: READER_CACHE_BYTES,
            wal_bytes: WAL_BYTES,
        }
    }
}

impl Store {
    /// Opens the database, makes it if absent, and brings its schema up to date.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let path = || config.path.clone();
        let database = |source| OpenError::Database { path: path(), source };

        if let Some(folder) = config.path.parent() {
            let result = tokio::fs::create_dir_all(folder).await;
            result.map_err(|source| OpenError::Folder { path: path(), source })?;
        }
        make_private(&config.path).await.map_err(|source| database(source.into()))?;
        let options = writer_options(config);
        let mut connection = options.connect().await.map_err(database)?;
        check_journal(&mut connection, config).await?;
        migrate(&mut connection, config).await?;
        epoch::draw_first(&mut connection).await.map_err(database)?;
        let options = options.create_if_missing(false);
        let wal = Wal::new(&config.path, config.wal_bytes, checkpoint_options(config)).await;
        let wal = wal.map_err(|source| OpenError::Database { path: path(), source: source.into() })?;
        Ok(Self::new(
            Writer::new(options, connection, wal),
            Readers::new(reader_options(config), config.readers.max(1)),
        ))
    }
}

/// Makes the file, if it is not there, for its owner alone; SQLite gives the files beside it the same rights.
async fn make_private(path: &Path) -> io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new();
    file.append(true).create(true);
    #[cfg(unix)]
    file.mode(0o600);
    file.open(path).await.map(drop)
}

async fn check_journal(connection: &mut SqliteConnection, config: &Config) -> Result<(), OpenError> {
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(connection).await;
    match row.and_then(|row| row.try_get::<String, _>(0)) {
        Ok(journal) if journal == "wal" => Ok(()),
        Ok(journal) => Err(OpenError::NoWal { path: config.path.clone(), journal }),
        Err(source) => Err(OpenError::Database { path: config.path.clone(), source }),
    }
}

async fn migrate(connection: &mut SqliteConnection, config: &Config) -> Result<(), OpenError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    MIGRATIONS.run(connection).await.map_err(|source| match source {
        MigrateError::VersionMissing(found) if found > known => {
            OpenError::Newer { path: config.path.clone(), found, known }
        }
        source => OpenError::Migrate { path: config.path.clone(), source },
    })
}

fn writer_options(config: &Config) -> SqliteConnectOptions {
    options(config)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", cache_size(config.writer_cache_bytes))
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", (config.wal_bytes * 4).to_string())
        .statement_cache_capacity(WRITER_STATEMENTS)
        .row_buffer_size(WRITER_ROW_BUFFER)
}

fn checkpoint_options(config: &Config) -> SqliteConnectOptions {
    options(config).synchronous(SqliteSynchronous::Full).pragma("wal_autocheckpoint", "0")
}

fn reader_options(config: &Config) -> SqliteConnectOptions {
    options(config)
        .read_only(true)
        .pragma("query_only", "ON")
        .pragma("cache_size", cache_size(config.reader_cache_bytes))
}

fn options(config: &Config) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&config.path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// In SQLite a negative figure is in KiB.
fn cache_size(bytes: u64) -> String {
    format!("-{}", bytes / 1024)
}

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/sqlite/migrations");

const WRITER_CACHE_BYTES: u64 = 64 << 20;
const READER_CACHE_BYTES: u64 = 8 << 20;
/// Only another process, or a writer's connection that is being replaced, can hold the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A page that many batches change is written back once.
const WAL_BYTES: u64 = 16 << 20;
/// Every text that `Script` makes of the append, in each of its sizes.
const WRITER_STATEMENTS: usize = 256;
/// Rows on their way from SQLite's thread: a command of at most 512 rows never waits for its reader.
const WRITER_ROW_BUFFER: usize = 1_024;
