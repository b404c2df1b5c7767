//! The format of `/etc/config`, as libuci reads it (`file.c`): `config TYPE [NAME]`, then `option KEY VALUE` and `list KEY VALUE`.
//! Quotes are a shell's, a backslash takes the next letter as it is, `#` ends the line also inside a word, `;` ends a command, and a
//! quote may hold line breaks. What libuci refuses is refused here: OpenWrt itself then does without that file.

use std::iter::Peekable;
use std::str::Chars;

/// Where a file cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Counted from 1.
    pub(super) line: usize,
    /// Why, in a sentence.
    pub(super) what: &'static str,
}

/// One section with its values.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) values: Vec<(String, String)>,
}

impl Section {
    /// Of an option that is given twice, the last one counts.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every word of an option that is a list, in either way of writing one.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.values.iter().filter(move |(name, _)| name == key);
        of.flat_map(|(_, value)| value.split_whitespace())
    }

    pub(super) fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "on" | "true" | "yes" | "enabled"))
    }

    /// Said, and said to be off.
    pub(super) fn is_off(&self, key: &str) -> bool {
        self.get(key).is_some() && !self.is_on(key)
    }

    /// As people know it, and as a terminal may show it.
    pub(super) fn title(&self) -> String {
        let own = if self.name.is_empty() { "without a name" } else { &self.name };
        plain(self.get("name").unwrap_or(own), 64)
    }
}

/// Words of the file as a terminal may show them.
pub(super) fn plain(words: &str, longest: usize) -> String {
    words.chars().filter(|letter| !letter.is_control()).take(longest).collect()
}

/// The sections of a file, in its order.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, Wrong> {
    let mut all: Vec<Section> = Vec::new();
    let mut at: Option<usize> = None;
    let mut reader = Reader { letters: text.chars().peekable(), line: 1 };
    while let Some((line, words)) = reader.command()? {
        let wrong = |what| Err(Wrong { line, what });
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let list = matches!(word(0), "list" | "l");
        match word(0) {
            "package" | "p" => {}
            "config" | "c" if word(1).is_empty() => return wrong("\u{201c}config\u{201d} without a type."),
            "config" | "c" if words.len() > 3 => return wrong("a section has a type and one name, no more."),
            "config" | "c" if !is_name(word(2)) => return wrong("a name has letters, digits, _ and - only."),
            "config" | "c" => {
                // The same name again goes on with that section.
                let same = |one: &Section| !one.name.is_empty() && one.name == word(2);
                at = all.iter().position(same).or(Some(all.len()));
                match at.and_then(|at| all.get(at)) {
                    Some(known) if known.kind != word(1) => {
                        return wrong("a section of another type has this name already.");
                    }
                    Some(_) => {}
                    None => all.push(Section {
                        kind: word(1).to_owned(),
                        name: word(2).to_owned(),
                        ..Section::default()
                    }),
                }
            }
            "option" | "o" | "list" | "l" => {
                let Some(section) = at.and_then(|at| all.get_mut(at)) else {
                    return wrong("an option before the first \u{201c}config\u{201d}.");
                };
                if word(1).is_empty() || !is_name(word(1)) {
                    return wrong("an option has a name of letters, digits, _ and -.");
                }
                if words.len() > 3 {
                    return wrong("more than one value: quotes are missing.");
                }
                if !list {
                    section.values.retain(|(name, _)| name != word(1));
                }
                // An empty option is none.
                if !word(2).is_empty() {
                    section.values.push((word(1).to_owned(), word(2).to_owned()));
                }
            }
            _ => return wrong("a line begins with config, option or list."),
        }
    }
    Ok(all)
}

fn is_name(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

struct Reader<'a> {
    letters: Peekable<Chars<'a>>,
    line: usize,
}

/// C's `isspace`.
fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\u{b}'
}

impl Reader<'_> {
    fn take(&mut self) -> Option<char> {
        let letter = self.letters.next();
        self.line += usize::from(letter == Some('\n'));
        letter
    }

    /// The words of the next command, with its line; none: the file is at its end.
    fn command(&mut self) -> Result<Option<(usize, Vec<String>)>, Wrong> {
        let (mut words, mut line) = (Vec::new(), self.line);
        loop {
            match self.letters.peek().copied() {
                None => return Ok((!words.is_empty()).then_some((line, words))),
                Some('\n' | ';') => {
                    self.take();
                    if !words.is_empty() {
                        return Ok(Some((line, words)));
                    }
                    line = self.line;
                }
                Some('#') => while self.letters.next_if(|letter| *letter != '\n').is_some() {},
                Some(letter) if is_space(letter) => drop(self.take()),
                Some(_) => words.push(self.word()?),
            }
        }
    }

    fn word(&mut self) -> Result<String, Wrong> {
        let mut word = String::new();
        while let Some(letter) = self.letters.peek().copied() {
            match letter {
                '#' | ';' => break,
                _ if is_space(letter) => break,
                '\'' | '"' => self.quoted(&mut word)?,
                '\\' => self.escaped(&mut word),
                _ => word.extend(self.take()),
            }
        }
        Ok(word)
    }

    fn quoted(&mut self, word: &mut String) -> Result<(), Wrong> {
        let (line, quote) = (self.line, self.take());
        while let Some(letter) = self.letters.peek().copied() {
            if Some(letter) == quote {
                self.take();
                return Ok(());
            }
            match (quote, letter) {
                (Some('"'), '\\') => self.escaped(word),
                _ => word.extend(self.take()),
            }
        }
        Err(Wrong { line, what: "a quote begins here and never ends." })
    }

    /// A backslash takes the next letter as it is; before a line break it joins the two lines.
    fn escaped(&mut self, word: &mut String) {
        self.take();
        self.letters.next_if_eq(&'\r');
        word.extend(self.take().filter(|letter| *letter != '\n'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let mut reader = Reader { letters: line.chars().peekable(), line: 1 };
        reader.command().unwrap().map(|(_, words)| words).unwrap_or_default()
    }

    #[test]
    fn words_are_read_as_by_libuci() {
        assert_eq!(words("\toption name 'two words' # why"), ["option", "name", "two words"]);
        assert_eq!(words("list a \"x\"'y'z"), ["list", "a", "xyz"]);
        assert_eq!(words("option empty ''"), ["option", "empty", ""]);
        assert_eq!(words("# config x"), [""; 0]);
        assert_eq!(words("option url http://x/#y"), ["option", "url", "http://x/"]);
        assert_eq!(words("option name 'it'\\''s'"), ["option", "name", "it's"]);
        assert_eq!(words("option name \"a \\\"b\\\" c\""), ["option", "name", "a \"b\" c"]);
        assert_eq!(words("option name 'a\\b'"), ["option", "name", "a\\b"]);
        assert_eq!(words("option name long\\\ner"), ["option", "name", "longer"]);
        assert_eq!(words("option a b; option c d"), ["option", "a", "b"]);
        assert_eq!(words("option a 'x\r\ny'\r\n"), ["option", "a", "x\r\ny"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let wrong = |text: &str| sections(text).map(|_| ()).unwrap_err();
        for (text, line, word) in [
            ("config\n", 1, "without a type"),
            ("\n# a comment\noption x 1\n", 3, "before the first"),
            ("config zone\n\toption\n", 2, "has a name"),
            ("config zone\n\toption 'a b' c\n", 2, "has a name"),
            ("config zone\n\toption name two words\n", 2, "quotes are missing"),
            ("config zone 'a.b'\n", 1, "letters, digits"),
            ("config zone a b\n", 1, "no more"),
            ("config zone a\nconfig rule a\n", 2, "another type"),
            ("config zone\n\n\toption name 'wan\n\noption x y\n", 3, "never ends"),
            ("config zone\n<html>\n", 2, "begins with config"),
        ] {
            let wrong = wrong(text);
            assert!(wrong.line == line && wrong.what.contains(word), "{text:?}: {wrong:?}");
        }
    }

    #[test]
    fn a_section_of_the_same_name_goes_on_and_an_option_replaces_what_was_there() {
        let all = sections(
            "config zone a\noption x 1\nlist y 1\nlist y 2\nconfig zone\nconfig zone a\noption x 2\n",
        )
        .unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].get("x"), all[0].all("y").count()), (Some("2"), 2));
        let emptied = sections("config zone\nlist y 1\noption y ''\n").unwrap();
        assert_eq!(emptied[0].get("y"), None);
    }
}
