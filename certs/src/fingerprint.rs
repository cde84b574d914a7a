//! The SHA-256 of a certificate, in the forms people and browsers write it. Knows neither files nor keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate's DER: what `serverCertificateHashes` of WebTransport and `--cert-hash` compare.
///
/// Shown as 64 lower-case hex digits. Parsed from hex, with a colon between the bytes or without, or from base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; LENGTH]);

/// A text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SHA-256: give 64 hex digits, with or without a colon between the bytes, or 44 characters of base64"
)]
pub struct ParseError;

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Padded base64 of the standard alphabet: `r0zzf…=`.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Lower-case hex with a colon between the bytes: `af:4c:…`.
    pub fn to_colon_hex(&self) -> String {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(":")
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim().as_bytes();
        // The lengths of the three forms differ, so none can be taken for another.
        let bytes = match text.len() {
            HEX_LENGTH => from_hex(text.chunks_exact(2)),
            COLON_HEX_LENGTH => from_colon_hex(text),
            _ => BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()),
        };
        bytes.map(Self).ok_or(ParseError)
    }
}

fn from_colon_hex(text: &[u8]) -> Option<[u8; LENGTH]> {
    let mut colons = text.iter().skip(2).step_by(3);
    if !colons.all(|&byte| byte == b':') {
        return None;
    }
    from_hex(text.chunks(3).map(|chunk| &chunk[..2]))
}

fn from_hex<'a>(pairs: impl Iterator<Item = &'a [u8]>) -> Option<[u8; LENGTH]> {
    let bytes: Option<Vec<u8>> = pairs.map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?)).collect();
    bytes?.try_into().ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

const LENGTH: usize = 32;
const HEX_LENGTH: usize = 2 * LENGTH;
const COLON_HEX_LENGTH: usize = 3 * LENGTH - 1;
/// Tools print base64 with padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc", from FIPS 180-4's examples.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const ABC_BASE64: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    #[test]
    fn is_the_sha_256_in_each_form() {
        let fingerprint = Fingerprint::of(b"abc");
        assert_eq!(fingerprint.to_string(), ABC);
        assert_eq!(fingerprint.to_base64(), ABC_BASE64);
        assert!(fingerprint.to_colon_hex().starts_with("ba:78:16:bf:"));
        assert_eq!(fingerprint.to_colon_hex().replace(':', ""), ABC);
        assert_eq!(fingerprint.as_bytes()[..2], [0xba, 0x78]);
    }

    #[test]
    fn every_form_is_read_back() {
        let fingerprint = Fingerprint::of(b"abc");
        let forms = [
            ABC.to_owned(),
            ABC.to_uppercase(),
            format!("  {ABC}\n"),
            fingerprint.to_colon_hex(),
            fingerprint.to_colon_hex().to_uppercase(),
            ABC_BASE64.to_owned(),
            ABC_BASE64.trim_end_matches('=').to_owned(),
        ];
        for form in forms {
            assert_eq!(form.parse(), Ok(fingerprint), "{form}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let colons = Fingerprint::of(b"abc").to_colon_hex();
        let damaged = [
            String::new(),
            ABC[..63].to_owned(),
            ABC[..62].to_owned(),
            format!("{ABC}00"),
            ABC.replace('b', "g"),
            colons.replacen(':', "-", 1),
            colons.replacen("ba:", "b:a", 1),
            ABC_BASE64[..40].to_owned(),
            ABC_BASE64.replace('/', "!"),
            "é".repeat(32),
        ];
        for text in damaged {
            assert_eq!(text.parse::<Fingerprint>(), Err(ParseError), "{text}");
        }
    }
}
