//! Opens a database: what the server must be, schema, epoch, sessions.

use std::str::FromStr as _;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

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
        let migrated = MIGRATIONS.run(&mut connection).await;
        migrated.map_err(|source| OpenError::of_migration(&MIGRATIONS, &place, source))?;
        let rows = sqlx::query(FIRST_ROWS).bind(draw_epoch());
        limited(rows.execute(&mut connection)).await.map_err(failed)?;
        limited(connection.close()).await.map_err(failed)?;
        Ok(Self::new(Pool::new(options, config.connections)))
    }
}

/// How the database is reached, and how it is called in errors.
pub(super) fn meant(config: &Config) -> Result<(PgConnectOptions, String), OpenError> {
    let options =
        PgConnectOptions::from_str(&config.url).map_err(|source| OpenError::Url { form: FORM, source })?;
    let options =
        options.application_name("tidegate").statement_cache_capacity(STATEMENTS).disable_statement_logging();
    let Some(database) = options.get_database() else { return Err(OpenError::NoDatabase { form: FORM }) };
    let place = format!("{database} on PostgreSQL at {}:{}", options.get_host(), options.get_port());
    Ok((options, place))
}

/// The server must be new enough, and commit to disk.
pub(super) async fn check(connection: &mut PgConnection, place: &str) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { place: place.to_owned(), source };
    let row = limited(connection.fetch_one(SETTINGS)).await.map_err(failed)?;
    let text = |column: usize| row.try_get::<String, _>(column).map_err(failed);
    let number: i32 = row.try_get(0).map_err(failed)?;
    if number < OLDEST {
        let found = format!("PostgreSQL {}", text(1)?);
        return Err(OpenError::TooOld { place: place.to_owned(), found, needed: "PostgreSQL 12" });
    }
    let why = "so a commit may be lost that was reported";
    for (column, setting) in [(2, "synchronous_commit"), (3, "fsync")] {
        let found = text(column)?;
        if found == "off" {
            return Err(OpenError::Setting { place: place.to_owned(), setting, found, why, needed: "on" });
        }
    }
    Ok(())
}

impl Engine for PgConnection {
    async fn set_up(&mut self) -> Result<(), sqlx::Error> {
        let sql = format!(
            "{SESSION}; SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            STATEMENT_LIMIT.as_millis(),
            LOCK_LIMIT.as_millis(),
            3 * STATEMENT_LIMIT.as_millis(),
        );
        self.execute(sqlx::AssertSqlSafe(sql)).await.map(drop)
    }

    fn classify(error: sqlx::Error) -> StoreError {
        error::classify(error)
    }
}

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("src/store/postgres/migrations");

const FORM: &str = "postgres://user:password@host:port/database";
/// Each text there is.
const STATEMENTS: usize = 64;
/// GENERATED … AS IDENTITY and MATERIALIZED.
const OLDEST: i32 = 120_000;
const SETTINGS: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
     current_setting('synchronous_commit'), current_setting('fsync')";
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET jit = off; \
     SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";
const FIRST_ROWS: &str =
    "INSERT INTO meta (name, value) VALUES ('epoch', $1), ('retention', '') ON CONFLICT (name) DO NOTHING";
