//! Tokens that are good, and every way in which one is not.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm as Alg, EncodingKey, crypto};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _,
};
use serde_json::{Value, json};
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;

use super::*;

mod grants;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// 2026-01-01, in ms.
const NOW: i64 = 1_767_225_600_000;
const NOW_S: i64 = NOW / 1000;

fn parts(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64.encode(header), BASE64.encode(claims))
}

fn signed(header: &str, claims: &str, key: &EncodingKey, alg: Alg) -> String {
    let message = parts(header, claims);
    let signature = crypto::sign(message.as_bytes(), key, alg).unwrap();
    format!("{message}.{signature}")
}

fn hs256(claims: &str) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, claims, &EncodingKey::from_secret(SECRET), Alg::HS256)
}

fn good() -> Value {
    json!({ "sub": "alice", "exp": NOW_S + 60 })
}

/// The good claims with `key` set, or removed by null.
fn with(key: &str, value: Value) -> String {
    let mut claims = good();
    claims[key] = value;
    if claims[key].is_null() {
        claims.as_object_mut().unwrap().remove(key);
    }
    claims.to_string()
}

fn auth(rules: Rules) -> Auth {
    Auth::new(Algorithm::Hs256, SECRET, rules).unwrap()
}

fn assert_unauthenticated(result: Result<Identity, Refusal>, case: &str) {
    let refusal = result.expect_err(case);
    assert_eq!(refusal.code, Code::Unauthenticated, "{case}");
    let expected = "the token is missing, invalid or expired; get a new one and connect again";
    assert_eq!(refusal.message, expected, "{case}");
}

#[test]
fn a_good_token_says_who_and_until_when() {
    let auth = auth(Rules { leeway_ms: 10_000, ..Rules::default() });
    let identity = auth.verify(&hs256(&good().to_string()), NOW).unwrap();
    assert_eq!(identity.user.as_str(), "alice");
    assert_eq!(identity.device, None);
    assert_eq!(identity.expires_at, NOW + 70_000);

    let identity = auth.verify(&hs256(&with("dev", json!("phone"))), NOW).unwrap();
    assert_eq!(identity.device.unwrap().as_str(), "phone");
}

#[test]
fn claims_by_table() {
    let rules = Rules { leeway_ms: 10_000, ..Rules::default() };
    let cases = [
        ("expired within the leeway", with("exp", json!(NOW_S - 9)), true),
        ("expired at the end of the leeway", with("exp", json!(NOW_S - 10)), false),
        ("a fraction of a second", with("exp", json!(NOW_S as f64 - 9.5)), true),
        ("no exp", with("exp", Value::Null), false),
        ("exp null", r#"{"sub":"alice","exp":null}"#.into(), false),
        ("exp as a string", with("exp", json!((NOW_S + 60).to_string())), false),
        ("exp in milliseconds", with("exp", json!(NOW + 60_000)), false),
        ("exp negative", with("exp", json!(-1)), false),
        ("exp huge", r#"{"sub":"alice","exp":1e300}"#.into(), false),
        ("exp twice", format!(r#"{{"sub":"alice","exp":1,"exp":{}}}"#, NOW_S + 60), false),
        ("nbf past", with("nbf", json!(NOW_S - 1)), true),
        ("nbf within the leeway", with("nbf", json!(NOW_S + 10)), true),
        ("nbf to come", with("nbf", json!(NOW_S + 11)), false),
        ("nbf as a string", with("nbf", json!("0")), false),
        ("no sub", with("sub", Value::Null), false),
        ("sub empty", with("sub", json!("")), false),
        ("sub a number", with("sub", json!(123)), false),
        ("sub a list", with("sub", json!(["alice"])), false),
        ("sub with a space", with("sub", json!("al ice")), false),
        ("sub with a colon", with("sub", json!("a:b")), false),
        ("sub of 64 bytes", with("sub", json!("x".repeat(64))), true),
        ("sub of 65 bytes", with("sub", json!("x".repeat(65))), false),
        ("sub of the system", with("sub", json!("@all")), false),
        ("sub with @ inside", with("sub", json!("alice@example.org")), true),
        ("dev empty", with("dev", json!("")), false),
        ("dev a number", with("dev", json!(1)), false),
        ("aud not looked at", with("aud", json!("somebody")), true),
        ("aud not looked at, whatever it is", with("aud", json!({"a": 1})), true),
        ("iss not looked at, whatever it is", with("iss", json!(7)), true),
        ("unknown claims", with("scope", json!({"a": [1, 2]})), true),
        ("claims no object", "[]".into(), false),
        ("claims no JSON", "sub=alice".into(), false),
        ("claims empty", String::new(), false),
        ("claims nested deep", format!(r#"{{"x":{}}}"#, "[".repeat(1000)), false),
    ];
    for (case, claims, is_good) in cases {
        let result = auth(rules.clone()).verify(&hs256(&claims), NOW);
        if is_good {
            assert!(result.is_ok(), "{case}: {result:?}");
        } else {
            assert_unauthenticated(result, case);
        }
    }
}

#[test]
fn audience_and_issuer_are_held_when_configured() {
    let audience = || auth(Rules { audience: Some("chat".into()), ..Rules::default() });
    let issuer = || auth(Rules { issuer: Some("https://id".into()), ..Rules::default() });
    let cases = [
        (audience(), "aud", json!("chat"), true),
        (audience(), "aud", json!(["other", "chat"]), true),
        (audience(), "aud", json!("other"), false),
        (audience(), "aud", json!(["other"]), false),
        (audience(), "aud", json!([]), false),
        (audience(), "aud", json!(["chat", 1]), false),
        (audience(), "aud", json!({ "chat": true }), false),
        (audience(), "aud", Value::Null, false),
        (issuer(), "iss", json!("https://id"), true),
        (issuer(), "iss", json!("https://id/"), false),
        (issuer(), "iss", json!(["https://id"]), false),
        (issuer(), "iss", Value::Null, false),
    ];
    for (auth, claim, value, is_good) in cases {
        let case = format!("{claim} {value}");
        let result = auth.verify(&hs256(&with(claim, value)), NOW);
        if is_good {
            assert!(result.is_ok(), "{case}: {result:?}");
        } else {
            assert_unauthenticated(result, &case);
        }
    }
}

#[test]
fn forms_that_are_no_token_of_ours() {
    let claims = good().to_string();
    let secret = EncodingKey::from_secret(SECRET);
    let token = hs256(&claims);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let none = parts(r#"{"alg":"none","typ":"JWT"}"#, &claims);
    let header_of = |header: &str| signed(header, &claims, &secret, Alg::HS256);
    let cases = [
        ("empty", String::new()),
        ("alg none, no signature", format!("{none}.")),
        ("alg none, two parts", none.clone()),
        ("alg none, a good HS256 signature", header_of(r#"{"alg":"none"}"#)),
        ("alg None", header_of(r#"{"alg":"None"}"#)),
        ("alg missing", header_of(r#"{"typ":"JWT"}"#)),
        ("alg a list", header_of(r#"{"alg":["HS256"]}"#)),
        ("alg twice", header_of(r#"{"alg":"none","alg":"HS256"}"#)),
        ("crit", header_of(r#"{"alg":"HS256","crit":["exp"]}"#)),
        ("HS384", signed(r#"{"alg":"HS384"}"#, &claims, &secret, Alg::HS384)),
        ("HS384 that says HS256", signed(r#"{"alg":"HS256"}"#, &claims, &secret, Alg::HS384)),
        ("a wrong key", {
            let other = EncodingKey::from_secret(b"another secret of at least 32 byte");
            signed(r#"{"alg":"HS256"}"#, &claims, &other, Alg::HS256)
        }),
        ("no signature", format!("{message}.")),
        ("signature cut short", format!("{message}.{}", &signature[..signature.len() - 4])),
        ("claims exchanged", format!("{}.{signature}", parts(r#"{"alg":"HS256"}"#, &claims))),
        ("not base64", format!("{message}.!!!!")),
        ("padded base64", format!("{token}=")),
        ("four parts", format!("{token}.AAAA")),
        ("one part", "AAAA".into()),
        ("dots", "...".into()),
        ("a space before", format!(" {token}")),
        ("a line end after", format!("{token}\n")),
        ("a zero byte", "\0".into()),
        ("not ASCII", "é.é.é".into()),
    ];
    let auth = auth(Rules::default());
    assert!(auth.verify(&token, NOW).is_ok());
    for (case, token) in cases {
        assert_unauthenticated(auth.verify(&token, NOW), case);
    }
}

#[test]
fn a_long_token_is_too_large_before_anything_else() {
    let auth = auth(Rules::default());
    for token in ["x".repeat(64 * 1024), "é".repeat(32 * 1024), "x".repeat(MAX_TOKEN_BYTES + 1)] {
        assert_eq!(auth.verify(&token, NOW).unwrap_err().code, Code::TooLarge);
    }
    assert_unauthenticated(auth.verify(&"x".repeat(MAX_TOKEN_BYTES), NOW), "the longest");
    let padding = json!("x".repeat(2900));
    let token = hs256(&with("padding", padding));
    assert!(token.len() > MAX_TOKEN_BYTES - 250 && token.len() <= MAX_TOKEN_BYTES, "{}", token.len());
    assert!(auth.verify(&token, NOW).is_ok());
}

#[test]
fn public_keys_verify_their_own_algorithm_alone() {
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let rsa_private = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
    let keys = [
        (Algorithm::Es256, &ec, Alg::ES256, EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap()),
        (Algorithm::EdDsa, &ed, Alg::EdDSA, EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap()),
        (Algorithm::Rs256, &rsa, Alg::RS256, rsa_private.clone()),
    ];
    let claims = good().to_string();
    for (algorithm, pair, alg, private) in &keys {
        let pem = pair.public_key_pem();
        let auth = Auth::new(*algorithm, pem.as_bytes(), Rules::default()).unwrap();
        let header = json!({ "alg": algorithm.as_str() }).to_string();
        let own = signed(&header, &claims, private, *alg);
        assert_eq!(auth.verify(&own, NOW).unwrap().user.as_str(), "alice");

        // The classic confusion: the public key, which everybody has, used as an HMAC secret.
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), pair.public_key_raw()] {
            for header in [r#"{"alg":"HS256"}"#, &header] {
                let token = signed(header, &claims, &EncodingKey::from_secret(secret), Alg::HS256);
                assert_unauthenticated(auth.verify(&token, NOW), "confusion");
            }
        }
        for (other_algorithm, _, other, other_private) in &keys {
            if other_algorithm != algorithm {
                let named = json!({ "alg": other_algorithm.as_str() }).to_string();
                for header in [&named, &header] {
                    let token = signed(header, &claims, other_private, *other);
                    assert_unauthenticated(auth.verify(&token, NOW), other_algorithm.as_str());
                }
            }
        }
        // A key in the header is a key of the attacker's.
        let jwk = r#"{"alg":"HS256","jwk":{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}}"#;
        let token = signed(jwk, &claims, &EncodingKey::from_secret(SECRET), Alg::HS256);
        assert_unauthenticated(auth.verify(&token, NOW), "jwk");
    }
    // The same key, another padding.
    let auth = Auth::new(Algorithm::Rs256, rsa.public_key_pem().as_bytes(), Rules::default()).unwrap();
    let token = signed(r#"{"alg":"PS256"}"#, &claims, &rsa_private, Alg::PS256);
    assert_unauthenticated(auth.verify(&token, NOW), "PS256");
    // Another key of the same kind.
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let auth = Auth::new(Algorithm::Es256, other.public_key_pem().as_bytes(), Rules::default()).unwrap();
    let token = signed(r#"{"alg":"ES256"}"#, &claims, &keys[0].3, Alg::ES256);
    assert_unauthenticated(auth.verify(&token, NOW), "another P-256 key");
}

#[test]
fn keys_that_cannot_verify_are_refused_at_once() {
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_pem();
    let both = format!("{}{}", ec.public_key_pem(), ec.serialize_pem());
    let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let point_off_curve = {
        let mut der = ec.subject_public_key_info();
        let last = der.len() - 1;
        der[last] ^= 1;
        let body = base64::prelude::BASE64_STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    };
    let refused = |algorithm, key: &[u8]| Auth::new(algorithm, key, Rules::default()).unwrap_err();
    use Algorithm::*;
    assert!(matches!(refused(Hs256, b""), KeyError::ShortSecret { bytes: 0 }));
    assert!(matches!(refused(Hs256, &SECRET[1..]), KeyError::ShortSecret { bytes: 31 }));
    assert!(matches!(refused(Hs256, ed.as_bytes()), KeyError::PemAsSecret));
    assert!(matches!(refused(Es256, SECRET), KeyError::NotPublicPem(Es256)));
    assert!(matches!(refused(Es256, ec.serialize_pem().as_bytes()), KeyError::NotPublicPem(Es256)));
    assert!(matches!(refused(Es256, both.as_bytes()), KeyError::NotPublicPem(Es256)));
    assert!(matches!(refused(Es256, p384.as_bytes()), KeyError::WrongKind { .. }));
    assert!(matches!(refused(Es256, ed.as_bytes()), KeyError::WrongKind { .. }));
    assert!(matches!(refused(Es256, point_off_curve.as_bytes()), KeyError::WrongKind { .. }));
    assert!(matches!(refused(EdDsa, ec.public_key_pem().as_bytes()), KeyError::WrongKind { .. }));
    assert!(matches!(refused(Rs256, ed.as_bytes()), KeyError::WrongKind { .. }));
    assert!(matches!(refused(Rs256, broken.as_bytes()), KeyError::WrongKind { .. }));
    assert!(matches!(refused(Rs256, RSA_1024.as_bytes()), KeyError::SmallRsa { bits: 1024 }));
}

#[test]
fn debug_output_tells_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::open_or_make(folder.path()).unwrap();
    let secret = std::fs::read_to_string(folder.path().join("dev-secret")).unwrap();
    for text in [format!("{signer:?}"), format!("{:?}", signer.auth().unwrap())] {
        assert!(!text.contains(secret.trim()), "{text}");
    }
    assert!(!format!("{:?}", auth(Rules::default())).contains("0123456789"));
}

#[test]
fn development_tokens_are_good_for_their_time_and_device() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::open_or_make(folder.path()).unwrap();
    let auth = signer.auth().unwrap();
    let (user, device) = (UserId::new("alice").unwrap(), DeviceId::new("phone").unwrap());
    let token = signer.sign(&user, Some(&device), Duration::from_secs(5), NOW + 1).unwrap();
    let identity = auth.verify(&token, NOW + 1).unwrap();
    assert_eq!((&identity.user, identity.device), (&user, Some(device)));
    assert_eq!(identity.expires_at, NOW + 6000);
    assert!(auth.verify(&token, NOW + 5999).is_ok());
    assert_unauthenticated(auth.verify(&token, NOW + 6000), "expired");

    let token = signer.sign(&user, None, Duration::MAX, NOW).unwrap();
    assert_eq!(auth.verify(&token, NOW).unwrap().device, None);
    let system = UserId::new("@all").unwrap();
    let error = signer.sign(&system, None, Duration::from_secs(5), NOW).unwrap_err();
    assert!(matches!(error, SignError::Reserved(user) if user == system));
}

#[test]
fn the_secret_is_drawn_once_and_by_one_of_many() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secrets: Vec<String> = std::thread::scope(|scope| {
        let open = || {
            Signer::open_or_make(folder.path()).unwrap();
            std::fs::read_to_string(folder.path().join("dev-secret")).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    Signer::open_or_make(other.path()).unwrap();
    assert_ne!(std::fs::read_to_string(other.path().join("dev-secret")).unwrap(), secrets[0]);
}

#[cfg(unix)]
#[test]
fn the_secret_is_private() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let folder = tempfile::tempdir().unwrap();
    Signer::open_or_make(folder.path()).unwrap();
    let path = folder.path().join("dev-secret");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Signer::open_or_make(folder.path()), Err(SecretError::Open { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "too short").unwrap();
    assert!(matches!(Signer::open_or_make(folder.path()), Err(SecretError::Damaged { .. })));
    let missing = folder.path().join("missing");
    assert!(matches!(Signer::open_or_make(&missing), Err(SecretError::Io { .. })));
}

const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC8k8pSs6ylL1R2pBDMF5kOmOfw
DPLciVl87EcoPLjIIKpzbozjcpwIsNVvdc+43y+3K7QVActB49k2R/DX5klhhpwx
6foC0td0TdNe41HjF5XQzT0NdCvykYHSH8FOW0atRTiD5tVfk09C6LhdWlVKO6WQ
WU4Cywg6wP0325cnLQIDAQAB
-----END PUBLIC KEY-----
";
