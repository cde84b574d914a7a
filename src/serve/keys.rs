//! The keys of QUIC's tokens and resets, kept over restarts: a client's tokens stay good, and it learns at once that a
//! connection is gone.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use tidegate_gateway::transport::quic::Keys;

/// The keys of the data folder, drawn now if there are none or they are cut short.
pub(super) fn open_or_make(data: &Path) -> anyhow::Result<Keys> {
    let path = data.join(KEYS_FILE);
    let kept = fs::read(&path).ok().and_then(|bytes| <[u8; 128]>::try_from(bytes).ok());
    let bytes = match kept {
        Some(bytes) => bytes,
        None => draw(&path).with_context(|| format!("cannot write {}", path.display()))?,
    };
    let (token, reset) = bytes.split_at(64);
    let half = |bytes: &[u8]| bytes.try_into().expect("half of 128 bytes");
    Ok(Keys { token: half(token), reset: half(reset) })
}

fn draw(path: &Path) -> std::io::Result<[u8; 128]> {
    let mut bytes = [0; 128];
    rand::fill(&mut bytes);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

const KEYS_FILE: &str = "quic-keys";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_folder_stay_and_those_cut_short_are_drawn_anew() {
        let folder = tempfile::tempdir().unwrap();
        let keys = || open_or_make(folder.path()).map(|keys| (keys.token, keys.reset)).unwrap();
        let first = keys();
        assert_ne!(first.0, first.1);
        assert_eq!(keys(), first);
        fs::write(folder.path().join(KEYS_FILE), [7; 100]).unwrap();
        let second = keys();
        assert_ne!(second, first);
        assert_eq!(keys(), second);
    }
}
