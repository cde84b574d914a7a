//! Every kind of key, every kind of bad file, and the edges of the dates.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use rcgen::{
    CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use x509_parser::der_parser::parse_der;

use super::*;
use crate::tests::{DAY, Files, SECOND, now, pair, params, section, signed};

fn load(files: &Files) -> Result<Identity, LoadError> {
    Identity::load(&files.chain(), &files.key(), now())
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// The key inside PKCS#8: SEC1 for ECDSA, PKCS#1 for RSA (RFC 5208, section 5).
fn inner_key(key: &KeyPair) -> Vec<u8> {
    let (_, pkcs8) = parse_der(key.serialized_der()).unwrap();
    pkcs8.as_sequence().unwrap()[2].as_slice().unwrap().to_vec()
}

#[test]
fn a_good_pair_is_loaded_with_what_is_in_it() {
    let files = Files::around(now());
    let identity = load(&files).unwrap();

    assert_eq!(identity.chain().len(), 1);
    assert_eq!(identity.sha256(), Fingerprint::of(&identity.chain()[0]));
    assert_eq!(identity.sha256(), Fingerprint::of_pem_file(&files.chain()).unwrap());
    assert_eq!(identity.not_before(), now() - DAY * 30);
    assert_eq!(identity.not_after(), now() + DAY * 60);
    assert_eq!(identity.lifetime(), DAY * 90);
    assert_eq!(identity.time_left(now()), DAY * 60);
    assert_eq!(identity.dns_names(), ["localhost"]);
    assert_eq!(identity.ip_addresses(), [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    assert!(identity.is_p256());
    assert!(identity.certified().keys_match().is_ok());
}

#[test]
fn every_form_of_key_is_taken() {
    let (p256, p384, rsa) = (p256(), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), rsa());
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let sec1 = section("EC PRIVATE KEY", &inner_key(&p256));
    let pkcs1 = section("RSA PRIVATE KEY", &inner_key(&rsa));
    let cases = [
        ("P-256 in PKCS#8", &p256, p256.serialize_pem(), true),
        ("P-256 in SEC1", &p256, sec1, true),
        ("P-384 in PKCS#8", &p384, p384.serialize_pem(), false),
        ("RSA in PKCS#8", &rsa, rsa.serialize_pem(), false),
        ("RSA in PKCS#1", &rsa, pkcs1, false),
        ("Ed25519 in PKCS#8", &ed25519, ed25519.serialize_pem(), false),
    ];
    for (what, key, pem, is_p256) in cases {
        let files = Files::empty();
        files.write(&signed(key, params(now(), now() + DAY)), &pem);
        let identity = load(&files).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(identity.is_p256(), is_p256, "{what}");
    }
}

#[test]
fn a_chain_keeps_its_order_and_text_around_it_is_skipped() {
    let files = Files::around(now());
    let own = fs::read_to_string(files.chain()).unwrap();
    let (issuer, _) = pair(now(), now() + DAY);
    fs::write(files.chain(), format!("subject=own\n{own}\nsubject=issuer\n{issuer}")).unwrap();

    let identity = load(&files).unwrap();
    assert_eq!(identity.chain().len(), 2);
    assert_eq!(identity.sha256(), Fingerprint::of(&identity.chain()[0]));

    fs::write(files.chain(), format!("{issuer}{own}")).unwrap();
    assert!(matches!(load(&files), Err(LoadError::KeyMismatch { .. })));
}

#[test]
fn a_bad_chain_file_says_which_and_what() {
    let good = pair(now(), now() + DAY).0;
    let key = p256();
    let mut critical = params(now(), now() + DAY);
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    critical.custom_extensions.push(unknown);

    type Expected = fn(&LoadError) -> bool;
    let cases: [(&str, String, Expected); 8] = [
        ("empty", String::new(), |e| matches!(e, LoadError::NoCertificate { .. })),
        ("a key", key.serialize_pem(), |e| matches!(e, LoadError::NoCertificate { .. })),
        ("cut off", good[..good.len() - 30].to_owned(), |e| matches!(e, LoadError::BadPem { .. })),
        ("no base64", good.replacen('M', "!", 1), |e| matches!(e, LoadError::BadPem { .. })),
        ("no X.509", section("CERTIFICATE", b"\x30\x03\x02\x01\x01"), |e| {
            matches!(e, LoadError::BadCertificate { number: 1, .. })
        }),
        ("a bad issuer", format!("{good}{}", section("CERTIFICATE", b"no")), |e| {
            matches!(e, LoadError::BadCertificate { number: 2, .. })
        }),
        ("unknown and critical", signed(&key, critical), |e| matches!(e, LoadError::Unusable { .. })),
        ("too large", " ".repeat(1024 * 1024 + 1), |e| matches!(e, LoadError::TooLarge { .. })),
    ];
    for (what, chain, expected) in cases {
        let files = Files::empty();
        files.write(&chain, &key.serialize_pem());
        let error = load(&files).expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
        assert!(error.to_string().contains("chain.pem"), "{what}: {error}");
    }
}

#[test]
fn a_bad_key_file_says_which_and_what() {
    let (chain, key) = pair(now(), now() + DAY);
    let encrypted = section("ENCRYPTED PRIVATE KEY", b"anything");
    let other = p256().serialize_pem();

    type Expected = fn(&LoadError) -> bool;
    let cases: [(&str, &str, Expected); 6] = [
        ("empty", "", |e| matches!(e, LoadError::NoKey { .. })),
        ("a certificate", &chain, |e| matches!(e, LoadError::NoKey { .. })),
        ("encrypted", &encrypted, |e| matches!(e, LoadError::NoKey { .. })),
        ("cut off", &key[..key.len() - 30], |e| matches!(e, LoadError::BadPem { .. })),
        ("no key", &section("PRIVATE KEY", b"no key"), |e| matches!(e, LoadError::BadKey { .. })),
        ("another's", &other, |e| matches!(e, LoadError::KeyMismatch { .. })),
    ];
    for (what, key, expected) in cases {
        let files = Files::empty();
        files.write(&chain, key);
        let error = load(&files).expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
        assert!(error.to_string().contains("key.pem"), "{what}: {error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let files = Files::around(now());
    let missing = files.path().join("missing.pem");
    for (chain, key) in [(&missing, &files.key()), (&files.chain(), &missing)] {
        let error = Identity::load(chain, key, now()).unwrap_err();
        assert!(matches!(error, LoadError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains("missing.pem"), "{error}");
    }
    let error = Identity::load(files.path(), &files.key(), now()).unwrap_err();
    assert!(matches!(error, LoadError::NotAFile { .. }), "{error:?}");
    assert!(matches!(Fingerprint::of_pem_file(&missing), Err(LoadError::Unreadable { .. })));
}

#[test]
fn it_is_valid_from_its_first_second_to_its_last() {
    let files = Files::empty();
    files.put(now(), now() + DAY);
    let at = |time| Identity::load(&files.chain(), &files.key(), time);

    let error = at(now() - SECOND).unwrap_err();
    assert!(matches!(error, LoadError::NotYetValid { .. }), "{error:?}");
    assert!(error.to_string().contains("Jun 15 00:00:00 2025"), "{error}");
    assert!(at(now()).is_ok());
    assert!(at(now() + DAY).is_ok());
    let error = at(now() + DAY + SECOND).unwrap_err();
    assert!(matches!(error, LoadError::Expired { .. }), "{error:?}");
    assert!(error.to_string().contains("Jun 16 00:00:00 2025"), "{error}");

    let shown = Identity::read(&files.chain(), &files.key()).unwrap();
    assert!(!shown.is_expired(now() + DAY));
    assert!(shown.is_expired(now() + DAY + SECOND));
}
