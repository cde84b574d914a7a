//! `[api]`: the backends that may send over HTTP.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::list::List;
use super::secret::Secret;
use super::section::{Invalid, section};

section! {
    /// Whoever has a key may send as any user and as the system. Without a key the API is closed.
    Api {
        /// The keys, each of at least 16 printable characters without spaces.
        keys: List<Secret> = List::default(),
        /// Or a file with one on each line; empty lines and those that begin with `#` do not count.
        keys_file: Option<PathBuf> = None,
    }
}

impl Api {
    /// The keys of both settings, the file read now.
    pub(crate) fn all_keys(&self) -> Result<Vec<Secret>, Invalid> {
        let mut all = Vec::new();
        for (number, secret) in self.keys.iter().enumerate() {
            check(secret.reveal()).map_err(|why| Invalid::new(KEYS, anyhow!("key {}: {why}", number + 1)))?;
            all.push(secret.clone());
        }
        let Some(path) = &self.keys_file else { return Ok(all) };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map_err(|error| Invalid::new(KEYS_FILE, error))?;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = || anyhow!("{}:{}", path.display(), number + 1);
            check(line).map_err(|why| Invalid::new(KEYS_FILE, anyhow!("{}: {why}", place())))?;
            let Ok(key) = line.parse();
            all.push(key);
        }
        Ok(all)
    }
}

fn check(key: &str) -> Result<(), String> {
    if key.len() < MIN_KEY_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("an API key has at least {MIN_KEY_BYTES} printable characters and no space"));
    }
    Ok(())
}

const KEYS: &str = "api.keys";
const KEYS_FILE: &str = "api.keys_file";
const MIN_KEY_BYTES: usize = 16;
