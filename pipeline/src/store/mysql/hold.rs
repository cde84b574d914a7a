//! The lock that keeps processes apart which would not push to each other, of named locks, which know no sharing: who is
//! alone has one, each of the others one of many; each takes its own and then looks for those it is against.

use sqlx::Executor as _;
use sqlx::mysql::MySqlConnection;

use crate::store::server::guard::{Hold, Sharing};

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Hold for MySqlConnection {
    async fn try_hold(&mut self, sharing: Sharing) -> Result<bool> {
        self.execute(NOTICED).await?;
        match sharing {
            Sharing::Alone => {
                if !take(self, ALONE).await? {
                    return Ok(false);
                }
                for place in 0..PLACES {
                    if !is_free(self, &shared(place)).await? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Sharing::Shared => {
                let first = rand::random_range(0..PLACES);
                for place in (first..PLACES).chain(0..first) {
                    // Where all are taken, the others' say what ours would.
                    if take(self, &shared(place)).await? {
                        break;
                    }
                }
                is_free(self, ALONE).await
            }
        }
    }
}

async fn take(connection: &mut MySqlConnection, name: &str) -> Result<bool> {
    let taken: Option<i64> = sqlx::query_scalar(TAKE).bind(name).fetch_one(connection).await?;
    Ok(taken == Some(1))
}

async fn is_free(connection: &mut MySqlConnection, name: &str) -> Result<bool> {
    let free: Option<i64> = sqlx::query_scalar(IS_FREE).bind(name).fetch_one(connection).await?;
    Ok(free == Some(1))
}

fn shared(place: u32) -> String {
    format!("shared:{place}")
}

const ALONE: &str = "alone";
const PLACES: u32 = 32;
// Named locks are the server's, so the name has the database; it has 64 characters at most.
const TAKE: &str = "SELECT CAST(GET_LOCK(CONCAT('tidegate:', MD5(DATABASE()), ':', ?), 0) AS SIGNED)";
const IS_FREE: &str = "SELECT CAST(IS_FREE_LOCK(CONCAT('tidegate:', MD5(DATABASE()), ':', ?)) AS SIGNED)";
/// A client whose machine is gone is noticed within half a minute.
const NOTICED: &str = "SET SESSION wait_timeout = 30";
