//! Opens a database: what the server must be, schema, epoch, sessions.

use std::str::FromStr as _;

use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use super::rows::SIZES;
use super::{Config, Store, error};
use crate::store::StoreError;
use crate::store::server::draw_epoch;
use crate::store::server::open::OpenError;
use crate::store::server::pool::{Engine, LOCK_LIMIT, Pool, STATEMENT_LIMIT, limited};

impl Store {
    /// Connects to the database, which must be there, and brings its schema up to date.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let (options, place) = meant(config)?;
        // Not one of the pool's: bringing the schema up to date may take longer than a statement may.
        let failed = |source| OpenError::Database { place: place.clone(), source };
        let mut connection = limited(options.connect()).await.map_err(failed)?;
        check(&mut connection, &place).await?;
        lock(&mut connection).await.map_err(failed)?;
        let migrated = MIGRATIONS.run(&mut connection).await;
        migrated.map_err(|source| OpenError::of_migration(&MIGRATIONS, &place, source))?;
        let rows = sqlx::query(FIRST_ROWS).bind(draw_epoch());
        limited(rows.execute(&mut connection)).await.map_err(failed)?;
        limited(connection.close()).await.map_err(failed)?;
        Ok(Self::new(Pool::new(options, config.connections)))
    }
}

/// How the database is reached, and how it is called in errors.
pub(super) fn meant(config: &Config) -> Result<(MySqlConnectOptions, String), OpenError> {
    let options =
        MySqlConnectOptions::from_str(&config.url).map_err(|source| OpenError::Url { form: FORM, source })?;
    let options = options.statement_cache_capacity(STATEMENTS).disable_statement_logging();
    let Some(database) = options.get_database() else { return Err(OpenError::NoDatabase { form: FORM }) };
    let place = format!("{database} on MySQL at {}:{}", options.get_host(), options.get_port());
    Ok((options, place))
}

/// Lets one process at a time change the schema, until its connection is closed. The driver's own lock waits for -1 s,
/// which MariaDB takes for not at all.
async fn lock(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let locked: Option<i64> = sqlx::query_scalar(LOCK).bind(SCHEMA_WAIT_S).fetch_one(connection).await?;
    if locked == Some(1) {
        return Ok(());
    }
    let text = format!("another process has been at the schema for {SCHEMA_WAIT_S} s");
    Err(sqlx::Error::Protocol(text))
}

/// What `SETTINGS` reads.
#[derive(Debug, Clone)]
struct Settings {
    version: String,
    log_bin: String,
    flush: String,
    sync_binlog: String,
    binlog_format: String,
    max_packet: String,
}

/// The server must be new enough, commit to disk, and take our batches.
pub(super) async fn check(connection: &mut MySqlConnection, place: &str) -> Result<(), OpenError> {
    let row = limited(connection.fetch_one(SETTINGS)).await;
    let settings = row.and_then(|row| Settings::of(&row));
    settings.map_err(|source| OpenError::Database { place: place.to_owned(), source })?.check(place)
}

impl Settings {
    fn of(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let text = |column: usize| row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default);
        Ok(Self {
            version: text(0)?,
            log_bin: text(1)?,
            flush: text(2)?,
            sync_binlog: text(3)?,
            binlog_format: text(4)?,
            max_packet: text(5)?,
        })
    }

    fn check(self, place: &str) -> Result<(), OpenError> {
        let place = place.to_owned();
        if !is_new_enough(&self.version) {
            return Err(OpenError::TooOld { place, found: self.version, needed: OLDEST });
        }
        let wrong =
            |setting, found, why, needed| Err(OpenError::Setting { place, setting, found, why, needed });
        if self.flush != "1" {
            return wrong("innodb_flush_log_at_trx_commit", self.flush, LOST, "1");
        }
        // What MySQL says as a number, MariaDB says as a word.
        let has_binlog = !matches!(&*self.log_bin, "0" | "OFF");
        if has_binlog && self.sync_binlog != "1" {
            // A commit that is in InnoDB's log but not in the binary log is rolled back at recovery.
            return wrong("sync_binlog", self.sync_binlog, LOST, "1");
        }
        if has_binlog && self.binlog_format == "STATEMENT" {
            let why = "which cannot log READ COMMITTED";
            return wrong("binlog_format", self.binlog_format, why, "ROW");
        }
        if self.max_packet.parse::<u64>().is_ok_and(|bytes| bytes < PACKET_BYTES) {
            return wrong("max_allowed_packet", self.max_packet, "less than a batch may have", "16777216");
        }
        Ok(())
    }
}

/// "8.0.36", "10.11.6-MariaDB-1", "5.5.5-10.11.6-MariaDB".
fn is_new_enough(version: &str) -> bool {
    let oldest = if version.contains("MariaDB") { [10, 6, 0] } else { [8, 0, 1] };
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(number);
    let found = [(); 3].map(|()| numbers.next().unwrap_or(0));
    found >= oldest
}

impl Engine for MySqlConnection {
    async fn set_up(&mut self) -> Result<(), sqlx::Error> {
        // Comments that only one of the two reads: MariaDB passes over versions from 50700 to 99999.
        let sql = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION innodb_lock_wait_timeout = {lock} \
             /*M!100600 , max_statement_time = {seconds} */ /*!80000 , max_execution_time = {millis} */",
            lock = LOCK_LIMIT.as_secs(),
            seconds = STATEMENT_LIMIT.as_secs(),
            millis = STATEMENT_LIMIT.as_millis(),
        );
        self.execute(sqlx::AssertSqlSafe(sql)).await.map(drop)
    }

    fn classify(error: sqlx::Error) -> StoreError {
        error::classify(error)
    }
}

const LOCK: &str = "SELECT CAST(GET_LOCK(CONCAT('tidegate:', MD5(DATABASE())), ?) AS SIGNED)";
const SCHEMA_WAIT_S: i64 = 60;
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("src/store/mysql/migrations");

const OLDEST: &str = "MySQL 8.0.1 or MariaDB 10.6";
const FORM: &str = "mysql://user:password@host:port/database";
/// Each text there is: a dozen lists in all their sizes, and some single ones.
const STATEMENTS: usize = 16 * SIZES;
/// A batch has at most 1 MiB (ARCHITECTURE.md "A message's way"), and as much again for what stands beside the bodies.
const PACKET_BYTES: u64 = 4 << 20;
const LOST: &str = "so a commit may be lost that was reported";
const SETTINGS: &str = "SELECT CAST(VERSION() AS CHAR), CAST(@@log_bin AS CHAR), \
     CAST(@@innodb_flush_log_at_trx_commit AS CHAR), CAST(@@sync_binlog AS CHAR), CAST(@@binlog_format AS CHAR), \
     CAST(@@max_allowed_packet AS CHAR)";
const FIRST_ROWS: &str = "INSERT IGNORE INTO meta (name, value) VALUES ('epoch', ?), ('retention', '')";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (version, good) in [
            ("8.0.36", true),
            ("8.0.0", false),
            ("5.7.44-log", false),
            ("9.1.0", true),
            ("10.11.19-MariaDB-0+deb12u1", true),
            ("5.5.5-10.6.2-MariaDB", true),
            ("10.5.9-MariaDB", false),
            ("unknown", false),
        ] {
            assert_eq!(is_new_enough(version), good, "{version}");
        }
    }

    /// With one setting that differs, what is complained of.
    fn complaint(change: impl FnOnce(&mut Settings)) -> Option<String> {
        let text = str::to_owned;
        let mut settings = Settings {
            version: text("8.0.36"),
            log_bin: text("1"),
            flush: text("1"),
            sync_binlog: text("1"),
            binlog_format: text("ROW"),
            max_packet: text("67108864"),
        };
        change(&mut settings);
        settings.check("x on MySQL at h:1").err().map(|error| error.to_string())
    }

    #[test]
    fn relaxed_commits_are_refused() {
        assert_eq!(complaint(|_| ()), None);
        for relaxed in ["0", "2"] {
            let expected = format!(
                "x on MySQL at h:1 has innodb_flush_log_at_trx_commit = {relaxed}, so a commit may be lost that was \
                 reported: set innodb_flush_log_at_trx_commit = 1"
            );
            assert_eq!(complaint(|settings| settings.flush = relaxed.to_owned()), Some(expected));
        }
        let unsynced = complaint(|settings| settings.sync_binlog = "0".to_owned());
        assert!(unsynced.unwrap().ends_with("set sync_binlog = 1"));
        for (off, sync) in [("0", "0"), ("OFF", "0")] {
            let change = |settings: &mut Settings| {
                (settings.log_bin, settings.sync_binlog) = (off.to_owned(), sync.to_owned());
            };
            assert_eq!(complaint(change), None, "without a binary log there is none to sync");
        }
        assert!(complaint(|settings| settings.binlog_format = "STATEMENT".to_owned()).is_some());
        assert!(complaint(|settings| settings.max_packet = "1048576".to_owned()).is_some());
        assert!(
            complaint(|settings| settings.version = "5.7.44".to_owned()).unwrap().contains("MariaDB 10.6")
        );
    }
}
