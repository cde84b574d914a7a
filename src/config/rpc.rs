//! `[rpc]`: how `listen.grpc` is protected, and how this process shows others who it is.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use tidegate_certs::Source;
use tidegate_pipeline::rpc::security::{Pem, Security, Settings};

use super::secret::Secret;
use super::section::{Invalid, section};

section! {
    /// On loopback none of it is needed. Elsewhere whoever calls must be known: by the token, or by a certificate.
    Rpc {
        /// What processes and backends show, as `authorization: Bearer …`; at least 16 printable characters.
        token: Option<Secret> = None,
        /// Or a file with it; white space around it does not count.
        token_file: Option<PathBuf> = None,
        /// The certificate of `listen.grpc`, PEM; also what this process shows where it dials.
        cert_file: Option<PathBuf> = None,
        /// Its private key.
        key_file: Option<PathBuf> = None,
        /// Who signs the certificates of those that may call, PEM.
        client_ca_file: Option<PathBuf> = None,
        /// Who signs the certificates of those that this process calls, PEM; not set: whom the system believes. With
        /// this or a certificate of its own it calls by TLS.
        ca_file: Option<PathBuf> = None,
    }
}

impl Rpc {
    /// The token of either setting, the file read now.
    pub(crate) fn shared_token(&self) -> Result<Option<Secret>, Invalid> {
        let (key, token) = match (&self.token, &self.token_file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Invalid::new(TOKEN_FILE, anyhow!("rpc.token is set too, give one")));
            }
            (Some(token), None) => (TOKEN, token.clone()),
            (None, Some(path)) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
                let text = text.map_err(|error| Invalid::new(TOKEN_FILE, error))?;
                let Ok(token) = text.trim().parse();
                (TOKEN_FILE, token)
            }
        };
        let text = token.reveal();
        if text.len() < MIN_TOKEN_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let text = "it has at least 16 printable characters and no space";
            return Err(Invalid::new(key, anyhow!(text)));
        }
        Ok(Some(token))
    }

    /// Whether whoever calls must show something.
    pub(super) fn is_guarded(&self) -> bool {
        self.token.is_some() || self.token_file.is_some() || self.client_ca_file.is_some()
    }

    /// What the server and whoever dials go by, the files read now.
    pub(crate) fn security(&self) -> anyhow::Result<Security> {
        Ok(Security::new(&self.read()?)?)
    }

    /// The files of the certificate, if there is one.
    pub(crate) fn certificate(&self) -> Option<Source> {
        let (chain, key) = (self.cert_file.clone()?, self.key_file.clone()?);
        Some(Source::Files { chain, key })
    }

    /// What is set, the files read now.
    pub(crate) fn read(&self) -> anyhow::Result<Settings> {
        let token = self.shared_token().map_err(Invalid::into_error)?;
        let read = |key: &str, path: &Option<PathBuf>| match path {
            None => Ok(None),
            Some(path) => {
                let bytes = fs::read(path).with_context(|| format!("{key}: cannot read {}", path.display()));
                bytes.map(Some)
            }
        };
        let pair = (read("rpc.cert_file", &self.cert_file)?, read("rpc.key_file", &self.key_file)?);
        let identity = if let (Some(chain), Some(key)) = pair { Some(Pem { chain, key }) } else { None };
        Ok(Settings {
            token: token.map(|token| token.reveal().to_owned()),
            identity,
            client_ca: read("rpc.client_ca_file", &self.client_ca_file)?,
            ca: read("rpc.ca_file", &self.ca_file)?,
        })
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        self.shared_token()?;
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => return Err(Invalid::new("rpc.cert_file", anyhow!("set rpc.key_file too"))),
            (None, Some(_)) => return Err(Invalid::new("rpc.key_file", anyhow!("set rpc.cert_file too"))),
            (None, None) if self.client_ca_file.is_some() => {
                let problem =
                    anyhow!("certificates are shown over TLS only: set rpc.cert_file and rpc.key_file");
                return Err(Invalid::new("rpc.client_ca_file", problem));
            }
            _ => {}
        }
        Ok(())
    }
}

const TOKEN: &str = "rpc.token";
const TOKEN_FILE: &str = "rpc.token_file";
const MIN_TOKEN_BYTES: usize = 16;
