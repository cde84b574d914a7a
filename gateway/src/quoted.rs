//! Text that a client had a hand in, as the log may show it: escaped, so that it makes no lines of its own, and cut.

use std::fmt::{self, Display, Write as _};

/// Shows `T` escaped and cut.
pub(crate) struct Quoted<T>(pub(crate) T);

impl<T: Display> Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { to: f, left: MAX_BYTES, failed: false };
        // An error of the writer is what cuts, unless the formatter itself fails.
        let _ = write!(cut, "{}", self.0);
        if cut.failed { Err(fmt::Error) } else { Ok(()) }
    }
}

struct Cut<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    left: usize,
    failed: bool,
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for escaped in text.chars().flat_map(char::escape_debug) {
            let bytes = escaped.len_utf8();
            if bytes > self.left {
                self.left = 0;
                return Err(fmt::Error);
            }
            self.left -= bytes;
            if self.to.write_char(escaped).is_err() {
                self.failed = true;
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// The most of a client's text in a line of the log (docs/OPERATIONS.md "Log").
const MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut() {
        let shown = Quoted("a\nb\u{1b}[31m\u{202e}\u{0}ü").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[31m\\u{202e}\\0ü");
        for text in ["x".repeat(1_000), "\n".repeat(1_000), "ü".repeat(1_000), "€".repeat(1_000)] {
            let shown = Quoted(&text).to_string();
            assert!((254..=256).contains(&shown.len()), "{} bytes", shown.len());
        }
    }
}
