//! Who this process is to others: its id, and where it is reached.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use crate::config::{Config, Role};

/// The id that is configured; or one that is drawn once, and kept where there is a data folder.
pub(super) fn id(config: &Config, role: Role) -> anyhow::Result<Arc<str>> {
    if !config.gateway.id.is_empty() {
        return Ok(config.gateway.id.as_str().into());
    }
    if !role.has_gateway() {
        return Ok(draw().into());
    }
    let path = config.data.join(ID_FILE);
    kept(&path).with_context(|| format!("the gateway's id in {}", path.display())).map(Into::into)
}

/// Where others reach `listen.grpc`, of which the first address is `bound`; empty: nobody knows.
pub(super) fn address(config: &Config, bound: Option<SocketAddr>) -> Arc<str> {
    match bound {
        _ if !config.gateway.advertise.is_empty() => config.gateway.advertise.as_str().into(),
        Some(address) if !address.ip().is_unspecified() => address.to_string().into(),
        _ => "".into(),
    }
}

fn kept(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if is_id(text.trim()) => Ok(text.trim().to_owned()),
        Ok(_) => bail!("it is none: remove the file, or set gateway.id"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = draw();
            fs::write(path, format!("{id}\n"))?;
            Ok(id)
        }
        Err(error) => Err(error.into()),
    }
}

fn draw() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(HOST_CHARS).collect();
    let host = if host.is_empty() { "gateway" } else { &host };
    format!("{host}-{:06x}", rand::random_range(0..1_u32 << 24))
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

const ID_FILE: &str = "gateway-id";
/// Of a host's name; with what is drawn the id stays short of its limit.
const HOST_CHARS: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_drawn_once_for_a_data_folder_and_configured_ones_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data: folder.path().to_owned(), ..Config::default() };
        let first = id(&config, Role::Serve).unwrap();
        assert!(is_id(&first) && first.len() <= 64, "{first}");
        assert_eq!(id(&config, Role::Gateway).unwrap(), first);
        assert_ne!(id(&config, Role::Pipeline).unwrap(), first, "it has no data folder");
        config.gateway.id = "node-1".to_owned();
        assert_eq!(&*id(&config, Role::Serve).unwrap(), "node-1");
        config.gateway.id.clear();
        fs::write(folder.path().join(ID_FILE), "a|b\n").unwrap();
        assert!(format!("{:#}", id(&config, Role::Serve).unwrap_err()).contains("set gateway.id"));
    }

    #[test]
    fn others_are_told_an_address_that_can_be_called_or_none() {
        let mut config = Config::default();
        let bound = Some("127.0.0.1:7".parse().unwrap());
        assert_eq!(&*address(&config, bound), "127.0.0.1:7");
        assert_eq!(&*address(&config, None), "");
        for everywhere in ["0.0.0.0:7", "[::]:7"] {
            assert_eq!(&*address(&config, Some(everywhere.parse().unwrap())), "");
        }
        config.gateway.advertise = "node-1:5".to_owned();
        assert_eq!(&*address(&config, bound), "node-1:5");
    }
}
