//! The contract on SQLite, and what is SQLite's own: disk full, damage, newer schemas, kill -9.

use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Config, OpenError, Store};
use crate::store::contract::{self, Place, append, contract_tests, inbox, text, whole};
use crate::store::{Store as AnyStore, StoreError};

mod damage;
mod kill;
mod known;
mod plans;
mod wal;

/// A folder that goes with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data/store.db")
    }

    async fn open_sqlite(&self) -> Store {
        Store::open(&Config::new(self.path())).await.unwrap()
    }
}

impl Place for Folder {
    async fn open(&self) -> AnyStore {
        AnyStore::Sqlite(self.open_sqlite().await)
    }
}

contract_tests!(Folder::new());

fn sends() -> impl Strategy<Value = contract::model::Step> {
    use crate::store::Range;
    use contract::model::{Send, Step, To};

    let to = prop_oneof![8 => any::<u8>().prop_map(To::User), 2 => any::<u8>().prop_map(To::Channel), 1 => Just(To::Group)];
    let send = (0..4_u8, to, 0..30_u8, prop_oneof![9 => Just(0_u8), 1 => Just(1_u8)])
        .prop_map(|(from, to, local_id, body)| Send { from, to, local_id, body });
    let range = prop_oneof![(0..40_u64).prop_map(Range::After), (0..40_u64).prop_map(Range::Before)];
    prop_oneof![
        6 => prop::collection::vec(send, 1..20).prop_map(Step::Append),
        3 => (any::<u8>(), range, 0..10_usize).prop_map(|(timeline, range, limit)| Step::Page(timeline, range, limit)),
        2 => (0..4_u8, 0..3_u8, 0..100_u64).prop_map(|(user, device, cursor)| Step::Cursor(user, device, cursor)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_schedules_agree_with_a_model(steps in prop::collection::vec(sends(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(contract::model::compare(&Folder::new(), &steps));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new();
    let store = folder.open_sqlite().await;
    let files = std::fs::read_dir(folder.path().parent().unwrap()).unwrap().map(|entry| entry.unwrap());
    let modes: Vec<u32> = files.map(|file| file.metadata().unwrap().permissions().mode() & 0o777).collect();
    assert!(modes.len() > 1, "the database and its log");
    assert!(modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
    store.close().await.unwrap();
}
