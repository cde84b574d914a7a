//! What browsers ask of the certificate, when it is made anew, and what becomes of its files.

use std::fs;

use rcgen::PKCS_ECDSA_P384_SHA384;
use tempfile::TempDir;

use super::*;
use crate::tests::{DAY, SECOND, now, pair, params, signed};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, chain: &str, key: &str) {
    fs::write(chain_path(folder), chain).unwrap();
    fs::write(key_path(folder), key).unwrap();
}

#[test]
fn it_is_what_browsers_take_by_hash() {
    let folder = folder();
    let identity = make_new(folder.path(), now()).unwrap();

    assert!(identity.is_p256());
    assert!(identity.lifetime() <= DAY * 14);
    assert_eq!(identity.not_after(), now() + DAY * 13);
    assert_eq!(identity.not_before(), now() - CLOCK_SKEW);
    assert_eq!(identity.dns_names(), ["localhost"]);
    assert_eq!(identity.ip_addresses(), ADDRESSES);
    assert_eq!(identity.chain().len(), 1);
}

#[test]
fn it_is_in_two_files_and_leaves_nothing_else() {
    let parent = folder();
    let folder = parent.path().join("data/certs");
    let identity = make_new(&folder, now()).unwrap();

    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dev-cert.pem", "dev-key.pem"]);
    let read = Identity::load(&folder.join("dev-cert.pem"), &folder.join("dev-key.pem"), now()).unwrap();
    assert_eq!(read.sha256(), identity.sha256());
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_the_key() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let key = key_path(folder.path());
    let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;

    make_new(folder.path(), now()).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    make_new(folder.path(), now()).unwrap();
    assert_eq!(mode(), 0o600);
}

#[test]
fn it_is_kept_while_more_than_a_third_of_its_life_is_left() {
    let folder = folder();
    let first = open_or_make(folder.path(), now()).unwrap();
    let due = first.not_after() - first.lifetime() / 3;

    let kept = open_or_make(folder.path(), due - SECOND).unwrap();
    assert_eq!(kept.sha256(), first.sha256());
    let renewed = open_or_make(folder.path(), due).unwrap();
    assert_ne!(renewed.sha256(), first.sha256());
    assert_eq!(renewed.not_after(), due_seconds(due) + DAY * 13);
    let kept = open_or_make(folder.path(), due).unwrap();
    assert_eq!(kept.sha256(), renewed.sha256());
}

/// Dates in certificates are in whole seconds.
fn due_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[test]
fn a_new_one_is_made_on_demand() {
    let folder = folder();
    let first = make_new(folder.path(), now()).unwrap();
    let second = make_new(folder.path(), now()).unwrap();
    assert_ne!(first.sha256(), second.sha256());
    assert_eq!(open(folder.path(), now()).unwrap().sha256(), second.sha256());
}

#[test]
fn what_cannot_be_used_is_made_anew() {
    let (good, key) = pair(now(), now() + DAY * 13);
    let p384 = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut elsewhere = params(now(), now() + DAY * 13);
    elsewhere.subject_alt_names.truncate(1);
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let long = pair(now(), now() + DAY * 14 + SECOND);
    let expired = pair(now() - DAY * 13, now() - SECOND);
    let ahead = pair(now() + SECOND, now() + DAY * 13);
    let cases = [
        ("damaged", "nothing".to_owned(), key.clone()),
        ("without its key", good.clone(), p256.serialize_pem()),
        ("P-384", signed(&p384, params(now(), now() + DAY * 13)), p384.serialize_pem()),
        ("not for ::1", signed(&p256, elsewhere), p256.serialize_pem()),
        ("over 14 days", long.0, long.1),
        ("expired", expired.0, expired.1),
        ("made by a clock ahead", ahead.0, ahead.1),
    ];
    for (what, chain, key) in cases {
        let folder = folder();
        write(folder.path(), &chain, &key);
        assert!(open(folder.path(), now()).is_err(), "{what}");
        let identity = open_or_make(folder.path(), now()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(identity.not_after(), now() + DAY * 13, "{what}");
        assert_eq!(open(folder.path(), now()).unwrap().sha256(), identity.sha256(), "{what}");
    }

    let folder = folder();
    write(folder.path(), &good, &key);
    let kept = open_or_make(folder.path(), now()).unwrap();
    assert_eq!(kept.sha256(), crate::Fingerprint::of_pem_file(&chain_path(folder.path())).unwrap());
    assert_eq!(kept.not_before(), now(), "a good one is not replaced");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open_or_make(&file, now()).unwrap_err();
    assert!(matches!(&error, Error::Folder { folder, .. } if *folder == file), "{error:?}");

    fs::create_dir(key_path(folder.path())).unwrap();
    let error = open_or_make(folder.path(), now()).unwrap_err();
    assert!(matches!(&error, Error::Write { path, .. } if *path == key_path(folder.path())), "{error:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
fn a_clock_that_was_never_set_is_told_or_survived() {
    let folder = folder();
    let error = make_new(folder.path(), SystemTime::UNIX_EPOCH - SECOND).unwrap_err();
    assert!(matches!(error, Error::Clock), "{error:?}");
    assert!(make_new(folder.path(), SystemTime::UNIX_EPOCH + SECOND).is_ok());
}
