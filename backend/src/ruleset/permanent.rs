//! Sets and maps that the settings fill: emptied and filled again with every ruleset, in its transaction. They are named and
//! keep their names, so a swap takes no element from a packet that is being looked up.

use std::fmt::Write;

/// A set or map, with its elements.
#[derive(Debug, Clone)]
pub(super) struct Permanent {
    /// `set` or `map`.
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    /// Its `type` or `typeof`.
    pub(super) of: &'static str,
    /// Whether elements may be ranges.
    pub(super) interval: bool,
    /// What it means to be in it.
    pub(super) why: &'static str,
    /// As nft writes them.
    pub(super) elements: Vec<String>,
}

impl Permanent {
    /// As a declaration inside the table, without elements.
    pub(super) fn declared(&self) -> String {
        let Self { kind, name, of, why, .. } = self;
        let flags = if self.interval { "\t\tflags interval\n" } else { "" };
        format!("\t{kind} {name} {{\n\t\t{of}\n{flags}\t\tcomment \"{why}\"\n\t}}\n")
    }

    /// Emptied and filled.
    pub(super) fn filled(&self) -> String {
        let mut text = format!("flush {} inet postern {}\n", self.kind, self.name);
        if !self.elements.is_empty() {
            let elements = self.elements.join(",\n\t");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "add element inet postern {} {{\n\t{elements}\n}}", self.name);
        }
        text
    }
}
