//! Settings that make security, and those that do not.

use super::*;

fn token(text: &str) -> Result<Security, Invalid> {
    Security::new(&Settings { token: Some(text.to_owned()), ..Settings::default() })
}

fn pem() -> (Pem, Vec<u8>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = cert.pem().into_bytes();
    (Pem { chain: chain.clone(), key: signing_key.serialize_pem().into_bytes() }, chain)
}

#[test]
fn a_token_is_compared_whole() {
    let security = token("a-token-of-16-cc").unwrap();
    for (shown, admitted) in [
        ("Bearer a-token-of-16-cc", true),
        ("bearer a-token-of-16-cc", true),
        ("Bearer a-token-of-16-c", false),
        ("Bearer a-token-of-16-ccc", false),
        ("Bearer ", false),
        ("Basic a-token-of-16-cc", false),
        ("a-token-of-16-cc", false),
    ] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, shown.parse().unwrap())]);
        assert_eq!(security.admits(&headers), admitted, "{shown}");
    }
    assert!(!security.admits(&HeaderMap::new()));
    assert!(Security::default().admits(&HeaderMap::new()));
}

#[test]
fn tokens_that_are_none() {
    for text in ["", "short", "has a space in it ..", "tschüss-tschüss-tschüss", "a\nb-a-token-of-16-cc"] {
        assert!(matches!(token(text), Err(Invalid::Token)), "{text:?}");
    }
    assert!(token(&"t".repeat(1_024)).is_ok() && token(&"t".repeat(1_025)).is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let (identity, ca) = pem();
    let settings = Settings {
        token: Some("a-token-of-16-cc".to_owned()),
        identity: Some(identity),
        client_ca: Some(ca),
        ca: None,
    };
    let security = Security::new(&settings).unwrap();
    let shown = format!("{settings:?} {security:?} {:?} {:?}", settings.identity, security.credentials());
    assert!(!shown.contains("a-token") && !shown.contains("45, 45"), "{shown}");
}

#[test]
fn outside_loopback_callers_must_be_known() {
    let (loopback, other) = ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
    let (identity, ca) = pem();
    let tls = Settings { identity: Some(identity), ..Settings::default() };
    let mutual = Settings { client_ca: Some(ca), ..tls.clone() };
    let none = Security::default();
    let (tls, mutual) = (Security::new(&tls).unwrap(), Security::new(&mutual).unwrap());
    let token = token("a-token-of-16-cc").unwrap();
    for (security, is_enough) in [(none, false), (tls, false), (mutual, true), (token, true)] {
        assert_eq!(security.missing_on(other).is_none(), is_enough, "{security:?}");
        assert_eq!(security.missing_on(loopback), None);
        assert_eq!(security.knows_callers(), is_enough);
    }
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let (identity, ca) = pem();
    let without_tls = Settings { client_ca: Some(ca.clone()), ..Settings::default() };
    assert!(matches!(Security::new(&without_tls), Err(Invalid::ClientsWithoutTls)));
    for bad in [&b""[..], b"no PEM", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let given = Settings { ca: Some(bad.to_vec()), ..Settings::default() };
        let error = Security::new(&given).unwrap_err().to_string();
        assert!(error.starts_with("rpc.ca_file"), "{error}");
    }
    let (other, _) = pem();
    let unfit = Pem { key: other.key, ..identity };
    let given = Settings { identity: Some(unfit), ..Settings::default() };
    assert!(matches!(Security::new(&given), Err(Invalid::Identity(_))));
}

#[tokio::test]
async fn only_a_host_and_a_port_are_dialed() {
    let (_, ca) = pem();
    let tls = Security::new(&Settings { ca: Some(ca), ..Settings::default() }).unwrap();
    for security in [Security::default(), tls] {
        for address in ["localhost:1", "127.0.0.1:50051", "[::1]:50051", "gateway-1.internal:65535"] {
            assert!(security.connect(address).is_ok(), "{address}");
        }
        for address in
            ["", "localhost", "localhost:0", ":1", "http://a:1", "a:1/x", "u@a:1", "a b:1", "a:99999"]
        {
            assert!(security.connect(address).is_err(), "{address}");
        }
    }
}
