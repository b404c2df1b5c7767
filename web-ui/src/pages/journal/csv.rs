//! Lines of the journal as comma-separated values (RFC 4180), for a spreadsheet that must not take any of them for a formula.

use postern::door::messages::JournalEntry;

use crate::words::datetime;

/// The first line, after a mark by which a spreadsheet knows the text for UTF-8: without it names and arrows are garbled.
pub(super) const HEAD: &str = "\u{feff}first,last,times,kind,who,from,what,changes\r\n";

/// One line.
pub(super) fn line(entry: &JournalEntry) -> String {
    let changes: Vec<String> =
        entry.changes.iter().map(|c| format!("{}: {} \u{2192} {}", c.key, c.before, c.after)).collect();
    let cells = [
        datetime(entry.at),
        datetime(entry.until),
        entry.times.to_string(),
        entry.kind.word().to_owned(),
        entry.who.clone(),
        entry.via.clone(),
        entry.what.clone(),
        changes.join("; "),
    ];
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

/// In quotes. What a spreadsheet would calculate gets an apostrophe in front: these characters begin a formula (OWASP, "CSV
/// injection"), in their full width too, and some programs pass over blanks before them.
fn cell(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let first = text.trim_start().chars().next();
    let formula = first.is_some_and(|c| {
        matches!(c, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
    });
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula_or_leaves_its_quotes() {
        for (text, written) in [
            ("plain, with \"quotes\"", "\"plain, with \"\"quotes\"\"\""),
            ("=HYPERLINK(1)", "\"'=HYPERLINK(1)\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM", "\"'@SUM\""),
            ("\t=1", "\"' =1\""),
            ("\r\n=1", "\"'  =1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("a\r\n=1", "\"a  =1\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
    }
}
