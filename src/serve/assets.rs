//! The demo's built files, embedded in the program.

use rust_embed::RustEmbed;
use tidegate_gateway::http::Asset;

#[derive(RustEmbed)]
#[folder = "web-demo/dist"]
struct Dist;

/// The file at `path`, without a leading slash.
pub(super) fn find(path: &str) -> Option<Asset> {
    let file = Dist::get(path)?;
    Some(Asset { bytes: file.data, sha256: file.metadata.sha256_hash() })
}
