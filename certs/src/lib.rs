//! Certificates: load, reload, the development certificate, fingerprints.
