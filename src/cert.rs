//! `tidegate cert`: the certificate in use, and a new development certificate.

use std::time::SystemTime;

use anyhow::{Context as _, bail};
use tidegate_certs::{Identity, Source, development};

use crate::cli::Cert;
use crate::config::Config;
use crate::data;

/// Prints the certificate, after making a new one if that is asked for.
pub(crate) fn run(command: &Cert) -> anyhow::Result<()> {
    let (Cert::Show { settings } | Cert::New { settings }) = command;
    let config = Config::load(&settings.sources())?;
    let source = config.tls.source(&config.data);
    let now = SystemTime::now();
    let identity = match (command, &source) {
        (Cert::Show { .. }, Source::Files { chain, key }) => Identity::read(chain, key)?,
        (Cert::Show { .. }, Source::Development { folder }) => {
            let (chain, key) = (development::chain_path(folder), development::key_path(folder));
            Identity::read(&chain, &key).context(
                "no development certificate yet: `tidegate serve` or `tidegate cert new` makes one",
            )?
        }
        (Cert::New { .. }, Source::Development { folder }) => {
            data::make(folder)?;
            development::make_new(folder, now)?
        }
        (Cert::New { .. }, Source::Files { chain, .. }) => {
            bail!("{} is the configured certificate: it is renewed where it was issued", chain.display())
        }
    };
    print(&source, &identity, now);
    Ok(())
}

fn print(source: &Source, identity: &Identity, now: SystemTime) {
    let (chain, key) = match source {
        Source::Files { chain, key } => (chain.clone(), key.clone()),
        Source::Development { folder } => (development::chain_path(folder), development::key_path(folder)),
    };
    let ip_addresses = identity.ip_addresses().iter().map(ToString::to_string);
    let names: Vec<String> = identity.dns_names().iter().cloned().chain(ip_addresses).collect();
    let state = if identity.is_expired(now) { "  EXPIRED" } else { "" };
    println!("certificate  {}", chain.display());
    println!("key          {}", key.display());
    println!("names        {}", names.join(" "));
    println!("valid from   {}", humantime::format_rfc3339_seconds(identity.not_before()));
    println!("valid until  {}{state}", humantime::format_rfc3339_seconds(identity.not_after()));
    println!("sha256       {}", identity.sha256().to_colon_hex());
    println!("as base64    {}", identity.sha256().to_base64());
}
