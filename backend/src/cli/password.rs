//! A password on standard input: piped, or typed by somebody who is asked for it.

use std::io::{BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Usage;

/// Most that is read of it.
const MOST: u64 = 4096;

/// One line, without its line break. A terminal is asked for it, and does not show what is typed.
pub(super) fn password_from_stdin() -> Result<String, Usage> {
    let stdin = std::io::stdin();
    let _silent = stdin.is_terminal().then(|| {
        let silent = Silent::new();
        // Standard output is the answer's. Who has closed standard error is not told.
        let _ = write!(std::io::stderr(), "Type the password, then Enter: ");
        silent
    });
    one_line(stdin.lock()).map_err(|e| Usage::Wrong(format!("the password could not be read: {e}")))
}

/// What stands before the first line break or the end.
fn one_line(from: impl BufRead) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(MOST).read_line(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A terminal that shows only the line break of what is typed, until this is dropped.
struct Silent(Option<Termios>);

impl Silent {
    fn new() -> Self {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            silent.local_modes.insert(LocalModes::ECHONL);
            // One that refuses is typed on all the same.
            let _ = tcsetattr(&stdin, OptionalActions::Flush, &silent);
        }
        Self(before)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_password_is_one_line_with_or_without_its_end() {
        for (given, read) in [
            ("a long password\n", "a long password"),
            ("a long password\r\nand more\n", "a long password"),
            ("a long password", "a long password"),
            (" blanks count \n", " blanks count "),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(one_line(given.as_bytes()).unwrap(), read, "{given:?}");
        }
        assert_eq!(one_line("x".repeat(10_000).as_bytes()).unwrap().len(), 4096);
        assert!(one_line(&b"\xff\n"[..]).is_err());
    }

    /// A terminal may stay open after the line: what comes then is not waited for.
    #[test]
    fn nothing_is_read_after_the_line() {
        struct Hanging;
        impl Read for Hanging {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                panic!("it was waited for more")
            }
        }
        let from = std::io::BufReader::new((&b"a long password\n"[..]).chain(Hanging));
        assert_eq!(one_line(from).unwrap(), "a long password");
    }
}
