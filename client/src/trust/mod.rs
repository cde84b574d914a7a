//! Which certificates a client believes, and the TLS configurations that follow from it. There is no way to believe all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

/// Which certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// What a root of the operating system has signed.
    #[default]
    SystemRoots,
    /// What one of these certificate authorities has signed, in DER.
    Ca(Vec<CertificateDer<'static>>),
    /// The certificate with this SHA-256 and no other, within its dates; whatever name it is for.
    CertHash([u8; 32]),
}

/// Why there is no trust to begin with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The file cannot be read as PEM certificates.
    #[error("cannot read certificates from {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The file has no certificate.
    #[error("no certificate in {}", .0.display())]
    Empty(PathBuf),
    /// The operating system has no roots.
    #[error("the system has no root certificates; name a CA or a certificate hash")]
    NoSystemRoots,
    /// TLS does not take the configuration.
    #[error("the TLS configuration is not possible")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// The certificate authorities in a PEM file.
    pub fn ca_file(path: impl AsRef<Path>) -> Result<Self, TrustError> {
        let path = path.as_ref();
        let file = |source| TrustError::File { path: path.to_owned(), source };
        let certificates: Vec<_> =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(file)?;
        if certificates.is_empty() {
            return Err(TrustError::Empty(path.to_owned()));
        }
        Ok(Self::Ca(certificates))
    }

    /// The TLS configuration for one ALPN; the `versions` are those the transport allows.
    pub(crate) fn tls(
        &self,
        alpn: &[u8],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(provider());
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
        let mut config = match self {
            Self::SystemRoots => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
            Self::Ca(certificates) => {
                builder.with_root_certificates(roots(certificates)?).with_no_client_auth()
            }
            Self::CertHash(hash) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(HashVerifier::new(*hash, &provider)))
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

/// With AES-128 first, as browsers have it: SHA-256, which goes with it, is done by the processor on both sides.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

fn system_roots() -> Result<RootCertStore, TrustError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() { Err(TrustError::NoSystemRoots) } else { Ok(store) }
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TrustError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone())?;
    }
    Ok(store)
}

/// Believes one certificate, known by its hash. The handshake's signature proves that the server has its key.
#[derive(Debug)]
struct HashVerifier {
    hash: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl HashVerifier {
    fn new(hash: [u8; 32], provider: &CryptoProvider) -> Self {
        Self { hash, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for HashVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity)[..] != self.hash {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let (_, certificate) =
            x509_parser::parse_x509_certificate(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).map_err(|_| CertificateError::Expired)?;
        let validity = certificate.validity();
        if now < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
