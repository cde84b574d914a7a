//! A good certificate replaces the one that is served, a bad one never does.

use std::fs::{self, File};

use super::*;
use crate::tests::{DAY, Files, SECOND, now, pair};

fn on_files(files: &Files) -> CertResolver {
    CertResolver::open(Source::Files { chain: files.chain(), key: files.key() }, now()).unwrap()
}

fn on_development(folder: &Path) -> CertResolver {
    CertResolver::open(Source::Development { folder: folder.to_owned() }, now()).unwrap()
}

#[track_caller]
fn assert_kept(resolver: &CertResolver, at: SystemTime) -> SourceError {
    let before = resolver.current().sha256();
    match resolver.reload_if_changed(at) {
        Reload::Kept(error) => {
            assert_eq!(resolver.current().sha256(), before);
            error
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_replaced(resolver: &CertResolver, at: SystemTime) {
    let before = resolver.current().sha256();
    match resolver.reload_if_changed(at) {
        Reload::Replaced(identity) => {
            assert_ne!(identity.sha256(), before);
            assert_eq!(resolver.current().sha256(), identity.sha256());
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_unchanged(resolver: &CertResolver, at: SystemTime) {
    assert!(matches!(resolver.reload_if_changed(at), Reload::Unchanged));
}

#[test]
fn files_are_served_and_followed() {
    let files = Files::around(now());
    let resolver = on_files(&files);
    assert_unchanged(&resolver, now());

    files.put(now() - DAY, now() + DAY * 90);
    assert_replaced(&resolver, now());
    assert_unchanged(&resolver, now());
}

#[test]
fn a_change_is_seen_when_the_files_times_stay() {
    let files = Files::around(now());
    let resolver = on_files(&files);
    let times = [files.chain(), files.key()].map(|path| fs::metadata(path).unwrap().modified().unwrap());

    files.put(now() - DAY, now() + DAY * 90);
    for (path, time) in [files.chain(), files.key()].iter().zip(times) {
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    assert_replaced(&resolver, now());
}

#[test]
fn nothing_is_opened_on_bad_files() {
    let files = Files::around(now());
    fs::remove_file(files.key()).unwrap();
    let source = Source::Files { chain: files.chain(), key: files.key() };
    let error = CertResolver::open(source, now()).unwrap_err();
    assert!(matches!(error, SourceError::Files(LoadError::Unreadable { .. })), "{error:?}");
}

#[test]
fn a_bad_one_never_replaces_a_good_one() {
    let files = Files::around(now());
    let (chain, key) = (fs::read(files.chain()).unwrap(), fs::read(files.key()).unwrap());
    let resolver = on_files(&files);

    fs::write(files.chain(), "half a fi").unwrap();
    let error = assert_kept(&resolver, now());
    assert!(matches!(error, SourceError::Files(LoadError::NoCertificate { .. })), "{error:?}");
    files.put(now() - DAY * 2, now() - DAY);
    let error = assert_kept(&resolver, now());
    assert!(matches!(error, SourceError::Files(LoadError::Expired { .. })), "{error:?}");
    fs::remove_file(files.chain()).unwrap();
    let error = assert_kept(&resolver, now());
    assert!(matches!(error, SourceError::Files(LoadError::Unreadable { .. })), "{error:?}");

    fs::write(files.chain(), chain).unwrap();
    fs::write(files.key(), key).unwrap();
    assert_unchanged(&resolver, now());
}

#[test]
fn a_pair_that_is_half_written_is_taken_when_it_is_whole() {
    let files = Files::around(now());
    let resolver = on_files(&files);
    let (chain, key) = pair(now(), now() + DAY);

    fs::write(files.key(), key).unwrap();
    let error = assert_kept(&resolver, now());
    assert!(matches!(error, SourceError::Files(LoadError::KeyMismatch { .. })), "{error:?}");
    fs::write(files.chain(), chain).unwrap();
    assert_replaced(&resolver, now());
}

#[test]
fn one_that_is_not_yet_valid_is_taken_when_it_is() {
    let files = Files::around(now());
    let resolver = on_files(&files);
    files.put(now() + DAY, now() + DAY * 90);

    assert_kept(&resolver, now());
    assert_kept(&resolver, now() + DAY - SECOND);
    assert_replaced(&resolver, now() + DAY);
}

#[test]
fn an_old_one_is_served_on_when_no_other_comes() {
    let files = Files::around(now());
    let resolver = on_files(&files);
    let end = resolver.current().not_after();
    assert_unchanged(&resolver, end + DAY);
    assert!(resolver.current().is_expired(end + DAY));
}

#[test]
fn the_development_certificate_is_made_kept_and_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = on_development(folder.path());
    let first = resolver.current();
    let due = first.not_after() - first.lifetime() / 3;

    assert_unchanged(&resolver, due - SECOND);
    assert_replaced(&resolver, due);
    assert!(!resolver.current().is_expired(first.not_after() + DAY));
    assert_unchanged(&resolver, due);
    let again = CertResolver::open(resolver.source().clone(), due).unwrap();
    assert_eq!(again.current().sha256(), resolver.current().sha256());
}

#[test]
fn a_development_certificate_made_by_another_process_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = on_development(folder.path());
    let new = development::make_new(folder.path(), now()).unwrap();
    assert_replaced(&resolver, now());
    assert_eq!(resolver.current().sha256(), new.sha256());
}

#[test]
fn a_development_certificate_that_browsers_refuse_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = on_development(folder.path());
    let (chain, key) = pair(now(), now() + DAY * 365);
    fs::write(development::chain_path(folder.path()), chain).unwrap();
    fs::write(development::key_path(folder.path()), key).unwrap();
    let error = assert_kept(&resolver, now());
    assert!(matches!(error, SourceError::Development(development::Error::Foreign { .. })), "{error:?}");
}

#[test]
fn a_renewal_that_fails_keeps_the_old_one_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = on_development(folder.path());
    let due = resolver.current().not_after() - DAY;
    let key = development::key_path(folder.path());

    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    let error = assert_kept(&resolver, due);
    assert!(matches!(error, SourceError::Development(development::Error::Write { .. })), "{error:?}");
    fs::remove_dir(&key).unwrap();
    assert_replaced(&resolver, due);
}

#[test]
fn a_subscriber_hears_of_each_replacement_only() {
    let files = Files::around(now());
    let resolver = on_files(&files);
    let mut identities = resolver.subscribe();

    assert_unchanged(&resolver, now());
    fs::write(files.chain(), "").unwrap();
    assert_kept(&resolver, now());
    assert!(!identities.has_changed().unwrap());
    files.put(now(), now() + DAY);
    assert_replaced(&resolver, now());
    assert!(identities.has_changed().unwrap());
    assert_eq!(identities.borrow_and_update().sha256(), resolver.current().sha256());
}
