//! What is said and how often, and the loop itself on paused time.

use std::fs;

use super::*;
use crate::tests::{DAY, Files, SECOND, now};
use crate::{LoadError, Source, SourceError};

fn kept(path: &str) -> Reload {
    Reload::Kept(SourceError::Files(LoadError::NoKey { path: path.into() }))
}

fn is_kept(line: Option<Line>) -> bool {
    matches!(line, Some(Line::Kept { .. }))
}

fn open(files: &Files, now: SystemTime) -> Arc<CertResolver> {
    let source = Source::Files { chain: files.chain(), key: files.key() };
    Arc::new(CertResolver::open(source, now).unwrap())
}

#[test]
fn a_failure_is_said_once_until_it_is_another_or_over() {
    let mut report = Report::default();
    assert_eq!(report.reload(&Reload::Unchanged), None);
    assert!(is_kept(report.reload(&kept("a.pem"))));
    assert_eq!(report.reload(&kept("a.pem")), None);
    assert!(is_kept(report.reload(&kept("b.pem"))));
    assert_eq!(report.reload(&kept("b.pem")), None);
    assert_eq!(report.reload(&Reload::Unchanged), Some(Line::Restored));
    assert_eq!(report.reload(&Reload::Unchanged), None);
    assert!(is_kept(report.reload(&kept("b.pem"))));

    let identity = open(&Files::around(now()), now()).current();
    let sha256 = identity.sha256().to_string();
    let line = report.reload(&Reload::Replaced(identity));
    assert_eq!(line, Some(Line::Replaced { sha256, not_after: utc(now() + DAY * 60) }));
    assert_eq!(report.reload(&Reload::Unchanged), None);
}

#[test]
fn a_failure_is_said_with_its_causes() {
    let files = Files::around(now());
    let resolver = open(&files, now());
    fs::remove_file(files.key()).unwrap();
    let Some(Line::Kept { error }) = Report::default().reload(&resolver.reload_if_changed(now())) else {
        panic!("the key is gone");
    };
    assert!(error.contains("key.pem") && error.contains("No such file"), "{error}");
}

#[test]
fn the_end_is_announced_once_and_said_once() {
    let identity = open(&Files::around(now()), now()).current();
    let (mut report, end) = (Report::default(), now() + DAY * 60);
    assert_eq!(report.age(&identity, now()), None);
    assert_eq!(report.age(&identity, end - DAY * 9), None);
    assert!(matches!(report.age(&identity, end - DAY * 9 + SECOND), Some(Line::Ending { .. })));
    assert_eq!(report.age(&identity, end), None);
    assert!(matches!(report.age(&identity, end + SECOND), Some(Line::Expired { .. })));
    assert_eq!(report.age(&identity, end + DAY), None);

    assert_eq!(report.age(&identity, now()), None, "one that is good needs no word");
    assert!(matches!(report.age(&identity, end), Some(Line::Ending { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_served_and_the_loop_ends_when_told() {
    let now = SystemTime::now();
    let files = Files::around(now);
    let resolver = open(&files, now);
    let (first, mut identities, stop) = (resolver.current(), resolver.subscribe(), CancellationToken::new());

    let change = async {
        files.put(now - DAY, now + DAY * 90);
        identities.changed().await.unwrap();
        stop.cancel();
    };
    let both = async { tokio::join!(watch(resolver.clone(), SECOND * 5, stop.clone()), change) };
    tokio::time::timeout(SECOND * 60, both).await.expect("a change is seen at the next look");
    assert_ne!(resolver.current().sha256(), first.sha256());
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_does_not_end_the_loop() {
    let now = SystemTime::now();
    let files = Files::around(now);
    let resolver = open(&files, now);
    let (mut identities, stop) = (resolver.subscribe(), CancellationToken::new());
    fs::write(files.chain(), "").unwrap();

    let mend = async {
        // The paused clock moves on only when the look at the bad file is over.
        tokio::time::sleep(SECOND * 7).await;
        assert!(!identities.has_changed().unwrap());
        files.put(now - DAY, now + DAY * 90);
        identities.changed().await.unwrap();
        stop.cancel();
    };
    let both = async { tokio::join!(watch(resolver, SECOND * 5, stop.clone()), mend) };
    tokio::time::timeout(SECOND * 60, both).await.expect("a good file is taken after a bad one");
}
