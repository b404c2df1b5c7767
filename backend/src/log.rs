//! The log: one line on standard error for each thing, with the priority prefix that systemd and procd understand
//! (sd-daemon(3)). Each failure is logged once, where it is handled. Never a password, a ticket or a form body.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

/// Something the owner may want to read later.
pub fn info(line: &str) {
    write(6, line);
}

/// Something that went wrong, or is about to.
pub fn warning(line: &str) {
    write(4, line);
}

/// A failure with its causes, under an id that the owner's page shows. Returns the id.
pub fn incident(error: &dyn Error) -> String {
    let id = incident_id();
    let mut line = format!("{id}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(line, ": {error}"); // writing to a String cannot fail
        cause = error.source();
    }
    warning(&line);
    id
}

/// A log that nobody reads any more (a broken pipe) must not end the daemon, as `eprintln!` would.
fn write(priority: u8, line: &str) {
    let _ = writeln!(std::io::stderr(), "<{priority}>{}", one_line(line));
}

/// Four characters: enough to find the line again among a day's.
fn incident_id() -> String {
    let mut bytes = [0u8; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return "????".to_owned();
    }
    bytes.iter().map(|b| b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789"[usize::from(b & 31)] as char).collect()
}

/// A line break in foreign text must not look like a line of ours.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn foreign_text_cannot_forge_a_line() {
        assert_eq!(super::one_line("a\n<0>forged\u{1b}[2J"), "a <0>forged [2J");
    }
}
