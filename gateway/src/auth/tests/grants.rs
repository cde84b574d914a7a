//! What a token lets its bearer do with channels.

use super::*;

#[test]
fn grants_are_patterns_and_bounded() {
    let covers =
        |patterns: &Patterns, name| patterns.cover(&tidegate_proto::id::ChannelName::new(name).unwrap());
    let auth = auth(Rules::default());
    let verify = |claims: &str| auth.verify(&hs256(claims), NOW);
    let grants = verify(&with("subscribe", json!(["news/**", "room"]))).unwrap().grants;
    assert!(covers(&grants.subscribe, "news/sport") && covers(&grants.subscribe, "room"));
    assert!(!covers(&grants.subscribe, "other") && grants.publish.is_empty());
    assert_eq!(verify(&with("publish", json!([]))).unwrap().grants, Grants::default());
    assert!(verify(&with("publish", json!(vec!["a"; 64]))).is_ok());
    for wrong in [json!("news"), json!([1]), json!(["a b"]), json!(["a**"]), json!(vec!["a"; 65]), json!({})]
    {
        for claim in ["subscribe", "publish"] {
            assert_unauthenticated(verify(&with(claim, wrong.clone())), &format!("{claim}: {wrong}"));
        }
    }
}

#[test]
fn development_tokens_grant_what_they_are_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::open_or_make(folder.path()).unwrap();
    let user = UserId::new("alice").unwrap();
    let patterns = |text: &str, count| {
        let pattern = tidegate_proto::pattern::Pattern::new(text).unwrap();
        Patterns::try_from(vec![pattern; count])
    };
    let grants = Grants { subscribe: patterns("news/**", 1).unwrap(), publish: patterns("a", 2).unwrap() };
    let token = signer.sign_granting(&grants, &user, None, Duration::from_secs(5), NOW).unwrap();
    assert_eq!(signer.auth().unwrap().verify(&token, NOW).unwrap().grants, grants);

    assert_eq!(patterns("a", 65), Err(TooMany));
    let long = Grants { publish: patterns(&"x".repeat(128), 64).unwrap(), ..Grants::default() };
    let refused = signer.sign_granting(&long, &user, None, Duration::from_secs(5), NOW);
    assert!(matches!(refused, Err(SignError::TooLarge { bytes }) if bytes > MAX_TOKEN_BYTES));
}
