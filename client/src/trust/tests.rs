//! Which certificates each kind of trust takes.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::time::Duration;

fn certificate(from: i32, to: i32) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn hash(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// Asks the verifier about `certificate` in the middle of 2030.
fn verify(hash: [u8; 32], certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    let verifier = HashVerifier::new(hash, &rustls::crypto::aws_lc_rs::default_provider());
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_909_000_000));
    let name = ServerName::try_from("anything.example").unwrap();
    verifier.verify_server_cert(certificate, &[], &name, &[], now).map(|_| ())
}

#[test]
fn the_right_hash_within_the_dates_is_believed() {
    let good = certificate(2030, 2031);
    assert_eq!(verify(hash(&good), &good), Ok(()));
}

#[test]
fn another_certificate_is_not() {
    let (good, other) = (certificate(2030, 2031), certificate(2030, 2031));
    let refused = Err(CertificateError::ApplicationVerificationFailure.into());
    assert_eq!(verify(hash(&good), &other), refused);
}

#[test]
fn the_dates_count() {
    let expired = certificate(2029, 2030);
    assert_eq!(verify(hash(&expired), &expired), Err(CertificateError::Expired.into()));
    let early = certificate(2031, 2032);
    assert_eq!(verify(hash(&early), &early), Err(CertificateError::NotValidYet.into()));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let nonsense = CertificateDer::from(vec![1, 2, 3]);
    assert_eq!(verify(hash(&nonsense), &nonsense), Err(CertificateError::BadEncoding.into()));
}

#[test]
fn a_ca_file_has_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    assert!(matches!(Trust::ca_file(&path), Err(TrustError::File { .. })));
    std::fs::write(&path, "nothing").unwrap();
    assert!(matches!(Trust::ca_file(&path), Err(TrustError::Empty(_))));
    let key = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    std::fs::write(&path, pem).unwrap();
    assert!(matches!(Trust::ca_file(&path), Ok(Trust::Ca(certificates)) if certificates.len() == 1));
}
