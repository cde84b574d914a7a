//! Which processes may use a database beside each other.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Place as _;
use super::database::Database;
use crate::store::{Guard, GuardError, Sharing, Store};

/// Ends at once, and with it the connection that holds the lock.
async fn let_go(guard: Guard) {
    let stop = CancellationToken::new();
    stop.cancel();
    guard.keep(&stop).await;
}

async fn take(store: &Store, sharing: Sharing) -> Guard {
    store.guard(sharing).await.unwrap()
}

pub(in crate::store) async fn who_must_be_alone_is(database: &Database) {
    let (store, other) = (database.open().await, database.open().await);
    let shared = [take(&store, Sharing::Shared).await, take(&other, Sharing::Shared).await];
    let refused = other.guard(Sharing::Alone).await;
    assert!(matches!(refused, Err(GuardError::NotAlone)), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("presence.url"));
    for guard in shared {
        let_go(guard).await;
    }
    let alone = take(&store, Sharing::Alone).await;
    let (alone_too, shared) = tokio::join!(other.guard(Sharing::Alone), other.guard(Sharing::Shared));
    assert!(matches!(alone_too, Err(GuardError::NotAlone)), "{alone_too:?}");
    assert!(matches!(shared, Err(GuardError::Taken)), "{shared:?}");

    // One who is about to end is waited for.
    let (next, ()) = tokio::join!(other.guard(Sharing::Alone), let_go(alone));
    let_go(next.unwrap()).await;
    take(&store, Sharing::Shared).await;
}

pub(in crate::store) async fn a_guard_that_lost_its_connection_takes_the_lock_again(database: &Database) {
    let (store, other) = (database.open().await, database.open().await);
    let alone = take(&store, Sharing::Alone).await;
    let stop = CancellationToken::new();
    let trial = async {
        database.cut_connections().await;
        // The lock is free for a moment; then nobody gets it any more.
        while let Ok(taken) = other.guard(Sharing::Shared).await {
            let_go(taken).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stop.cancel();
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, async { tokio::join!(alone.keep(&stop), trial) })
        .await
        .expect("it is taken again");
    let_go(take(&other, Sharing::Alone).await).await;
}
