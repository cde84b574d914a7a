//! Handshakes in memory, by a client that trusts exactly one certificate.

use std::time::{Duration, SystemTime};

use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, Error, ProtocolVersion, RootCertStore, quic as rustls_quic};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::tests::{DAY, Files, now};
use crate::{Fingerprint, Reload, Source, development};

const OURS: &[u8] = b"tidegate/1";
const H3: &[u8] = b"h3";

#[derive(Debug)]
struct Fixed(SystemTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

fn client(
    trusted: &CertificateDer<'static>,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Fixed(now())))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config
}

/// What the client sees at the end of a handshake.
#[derive(Debug)]
struct Seen {
    leaf: Fingerprint,
    alpn: Option<Vec<u8>>,
    version: ProtocolVersion,
}

fn handshake(server: &Arc<ServerConfig>, client: ClientConfig, name: &'static str) -> Result<Seen, Error> {
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name.try_into().unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        let answered = server.process_new_packets();
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
        answered?;
    }
    Ok(Seen {
        leaf: Fingerprint::of(&client.peer_certificates().unwrap()[0]),
        alpn: client.alpn_protocol().map(<[u8]>::to_vec),
        version: client.protocol_version().unwrap(),
    })
}

fn development_resolver() -> (tempfile::TempDir, Arc<CertResolver>) {
    let folder = tempfile::tempdir().unwrap();
    let source = Source::Development { folder: folder.path().to_owned() };
    let resolver = Arc::new(CertResolver::open(source, now()).unwrap());
    (folder, resolver)
}

#[test]
fn a_configuration_serves_the_new_certificate_after_a_reload() {
    let files = Files::around(now());
    let source = Source::Files { chain: files.chain(), key: files.key() };
    let resolver = Arc::new(CertResolver::open(source, now()).unwrap());
    let old = resolver.current();
    for config in [quic(resolver.clone(), &[OURS]), tcp(resolver.clone(), &[OURS])].map(Arc::new) {
        let before = resolver.current();
        let to = |identity: &crate::Identity| client(&identity.chain()[0], &[OURS], &[&TLS13]);
        assert_eq!(handshake(&config, to(&before), "localhost").unwrap().leaf, before.sha256());

        files.put(now() - DAY, now() + DAY);
        assert!(matches!(resolver.reload_if_changed(now()), Reload::Replaced(_)));
        let after = resolver.current();
        assert_ne!(after.sha256(), before.sha256());
        assert_eq!(handshake(&config, to(&after), "localhost").unwrap().leaf, after.sha256());
        let error = handshake(&config, to(&before), "localhost").unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    }
    assert_ne!(resolver.current().sha256(), old.sha256());
}

#[test]
fn the_development_certificate_is_good_for_each_of_its_names() {
    let (folder, resolver) = development_resolver();
    let config = Arc::new(tcp(resolver.clone(), &[]));
    let identity = resolver.current();
    let trusted = &identity.chain()[0];
    for name in ["localhost", "127.0.0.1", "::1"] {
        let seen = handshake(&config, client(trusted, &[], &[&TLS13]), name).unwrap();
        let file = Fingerprint::of_pem_file(&development::chain_path(folder.path())).unwrap();
        assert_eq!(seen.leaf, file, "{name}");
    }
    assert!(handshake(&config, client(trusted, &[], &[&TLS13]), "example.com").is_err());
}

#[test]
fn the_servers_preference_among_the_protocols_decides() {
    let (_folder, resolver) = development_resolver();
    let identity = resolver.current();
    let trusted = &identity.chain()[0];
    let config = Arc::new(quic(resolver.clone(), &[OURS, H3]));
    for (offered, expected) in [(&[H3][..], H3), (&[OURS][..], OURS), (&[H3, OURS][..], OURS)] {
        let seen = handshake(&config, client(trusted, offered, &[&TLS13]), "localhost").unwrap();
        assert_eq!(seen.alpn.as_deref(), Some(expected));
    }
    let error = handshake(&config, client(trusted, &[b"h2"], &[&TLS13]), "localhost").unwrap_err();
    assert!(matches!(error, Error::AlertReceived(AlertDescription::NoApplicationProtocol)), "{error:?}");
}

#[test]
fn tcp_speaks_tls_1_2_too_and_quic_does_not() {
    let (_folder, resolver) = development_resolver();
    let identity = resolver.current();
    let trusted = &identity.chain()[0];
    let (over_tcp, over_quic) = (Arc::new(tcp(resolver.clone(), &[])), Arc::new(quic(resolver.clone(), &[])));

    let seen = handshake(&over_tcp, client(trusted, &[], &[&TLS12]), "localhost").unwrap();
    assert_eq!(seen.version, ProtocolVersion::TLSv1_2);
    let seen = handshake(&over_tcp, client(trusted, &[], &[&TLS12, &TLS13]), "localhost").unwrap();
    assert_eq!(seen.version, ProtocolVersion::TLSv1_3);
    let error = handshake(&over_quic, client(trusted, &[], &[&TLS12]), "localhost").unwrap_err();
    assert!(matches!(error, Error::AlertReceived(AlertDescription::ProtocolVersion)), "{error:?}");
}

#[test]
fn quic_takes_the_configuration_and_has_no_early_data() {
    let (_folder, resolver) = development_resolver();
    let config = Arc::new(quic(resolver, &[OURS]));
    assert_eq!(config.max_early_data_size, 0);
    assert!(rustls_quic::ServerConnection::new(config, rustls_quic::Version::V1, Vec::new()).is_ok());
}

#[test]
fn a_client_after_its_end_refuses_it() {
    let (_folder, resolver) = development_resolver();
    let current = resolver.current();
    let config = Arc::new(tcp(resolver, &[]));
    let mut late = client(&current.chain()[0], &[], &[&TLS13]);
    late.time_provider = Arc::new(Fixed(current.not_after() + Duration::from_secs(1)));
    let error = handshake(&config, late, "localhost").unwrap_err();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
}
