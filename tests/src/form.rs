//! Reading the forms of a page as a browser without script does.

use crate::http::percent_encode;

/// A form of a page, with what would be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Where it goes; empty: the page itself.
    pub action: String,
    /// `post` or `get`.
    pub method: String,
    /// Name, value, and whether it would be sent as the page stands (an unticked checkbox would not).
    fields: Vec<(String, String, bool)>,
}

impl Form {
    /// Every form of `html`.
    #[must_use]
    pub fn all(html: &str) -> Vec<Self> {
        let mut forms: Vec<Self> = Vec::new();
        let mut inside = false;
        let mut select: Option<String> = None;
        for (tag, text) in tags(html) {
            let form = forms.last_mut().filter(|_| inside);
            match (tag.name.as_str(), form) {
                ("form", _) => {
                    let method = tag.get("method").unwrap_or("get").to_ascii_lowercase();
                    let action = tag.get("action").unwrap_or_default().to_owned();
                    forms.push(Self { action, method, fields: Vec::new() });
                    inside = true;
                }
                ("/form", _) => inside = false,
                ("input", Some(form)) => {
                    let kind = tag.get("type").unwrap_or("text").to_ascii_lowercase();
                    let box_like = kind == "checkbox" || kind == "radio";
                    let value = tag.get("value").unwrap_or(if box_like { "on" } else { "" });
                    let sent = match kind.as_str() {
                        "checkbox" | "radio" => tag.has("checked"),
                        "submit" | "button" | "image" | "reset" => false,
                        _ => true,
                    };
                    form.add(tag.get("name"), value, sent && !tag.has("disabled"));
                }
                ("textarea", Some(form)) => form.add(tag.get("name"), &decode(text), true),
                ("select", Some(_)) => select = tag.get("name").map(str::to_owned),
                ("option", Some(form)) => {
                    let value = tag.get("value").map_or_else(|| decode(text.trim()), str::to_owned);
                    form.add(select.as_deref(), &value, tag.has("selected"));
                }
                ("button", Some(form)) => {
                    form.add(tag.get("name"), tag.get("value").unwrap_or_default(), false)
                }
                _ => {}
            }
        }
        forms
    }

    fn add(&mut self, name: Option<&str>, value: &str, sent: bool) {
        if let Some(name) = name {
            self.fields.push((name.to_owned(), value.to_owned(), sent));
        }
    }

    /// Whether it has a field of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, ..)| known == name)
    }

    /// Names of all fields, each once, in the order of the page.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, ..) in &self.fields {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The value of this field as it would be sent; none: it would not be.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _, sent)| known == name && *sent).map(|(_, value, _)| value.as_str())
    }

    /// What the last field of this name sends: that of a checkbox beside a hidden field, if it is ticked.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&str> {
        let sent = self.fields.iter().rev().find(|(known, _, sent)| known == name && *sent);
        sent.map(|(_, value, _)| value.as_str())
    }

    /// Types `value` into the field.
    ///
    /// # Panics
    /// When the form has no such field: a browser could not type there either.
    #[track_caller]
    #[must_use]
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        let Some(field) = self.fields.iter_mut().find(|(known, ..)| known == name) else {
            panic!("the form {:?} has no field `{name}`: {:?}", self.action, self.fields);
        };
        value.clone_into(&mut field.1);
        field.2 = true;
        self
    }

    /// Ticks or unticks a checkbox (or picks a button).
    ///
    /// # Panics
    /// When the form has no such field.
    #[track_caller]
    #[must_use]
    pub fn tick(mut self, name: &str, ticked: bool) -> Self {
        assert!(self.has(name), "the form {:?} has no field `{name}`: {:?}", self.action, self.fields);
        // A checkbox may stand beside a hidden field of the same name: the last one is the box.
        if let Some(field) = self.fields.iter_mut().rev().find(|(known, ..)| known == name) {
            field.2 = ticked;
        }
        self
    }

    /// Picks the radio button `value` among those of this name.
    ///
    /// # Panics
    /// When there is no such button.
    #[track_caller]
    #[must_use]
    pub fn choose(mut self, name: &str, value: &str) -> Self {
        let mut found = false;
        for (_, is, sent) in self.fields.iter_mut().filter(|(known, ..)| known == name) {
            *sent = is == value;
            found |= *sent;
        }
        assert!(found, "the form {:?} has no button `{name}` = `{value}`: {:?}", self.action, self.fields);
        self
    }

    /// The same form without this field: what an attacker would send who cannot read the page.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, ..)| known != name);
        self
    }

    /// Names of the hidden fields and all others that would be sent.
    #[must_use]
    pub fn sent(&self) -> Vec<&str> {
        self.fields.iter().filter(|(.., sent)| *sent).map(|(name, ..)| name.as_str()).collect()
    }

    /// As `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn body(&self) -> String {
        let sent = self.fields.iter().filter(|(.., sent)| *sent);
        let pairs =
            sent.map(|(name, value, _)| format!("{}={}", percent_encode(name), percent_encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// A start or end tag (`/form`) with its attributes.
#[derive(Debug, Default)]
pub(crate) struct Tag {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Every tag of `html`, with the text up to the next one.
pub(crate) fn tags(html: &str) -> Vec<(Tag, &str)> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let (tag, after) = read_tag(rest);
        rest = after;
        found.push((tag, &rest[..rest.find('<').unwrap_or(rest.len())]));
    }
    found
}

fn read_tag(text: &str) -> (Tag, &str) {
    let end = text.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(text.len());
    let mut tag = Tag { name: text[..end].to_ascii_lowercase(), attributes: Vec::new() };
    let mut rest = text[end..].trim_start_matches(|c: char| c.is_whitespace() || c == '/');
    while !rest.is_empty() && !rest.starts_with('>') {
        let end = rest.find(|c: char| c.is_whitespace() || "=>/".contains(c)).unwrap_or(rest.len()).max(1);
        let name = rest.get(..end).unwrap_or(rest).to_ascii_lowercase();
        rest = rest.get(end..).unwrap_or_default().trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'');
            let (raw, left) = match quote {
                Some(quote) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
                None => {
                    after.split_at(after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len()))
                }
            };
            value = decode(raw);
            rest = left;
        }
        tag.attributes.push((name, value));
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
    }
    (tag, rest.strip_prefix('>').unwrap_or(rest))
}

/// Text with its character references replaced.
pub(crate) fn decode(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out += &rest[..at];
        rest = &rest[at..];
        let end = rest.find(';').filter(|end| *end < 10);
        let known = end.and_then(|end| reference(&rest[1..end]));
        let (character, length) = known.zip(end).map_or(('&', 1), |(character, end)| (character, end + 1));
        out.push(character);
        rest = &rest[length..];
    }
    out + rest
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let hex = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
            char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!-- <form action="/no"> --><form method="post" action="/save?a=1&amp;b=2">
        <input type=hidden name="token" value="a&#x27;b"><input type="checkbox" name="pptp" checked>
        <input name='l2tp' type='checkbox' value="true"/><select name="s"><option value="1">x<option selected>two
        </select><textarea name="t">a&lt;b</textarea><button name="go" type="submit">Save</button></form>"#;

    #[test]
    fn a_form_sends_exactly_what_a_browser_would() {
        let forms = Form::all(PAGE);
        assert_eq!(forms.len(), 1);
        assert_eq!(forms[0].action, "/save?a=1&b=2");
        assert_eq!(forms[0].body(), "token=a%27b&pptp=on&s=two&t=a%3Cb");
    }

    #[test]
    fn ticking_and_filling_change_what_is_sent() {
        let form =
            Form::all(PAGE).remove(0).tick("pptp", false).tick("l2tp", true).fill("t", "z").without("token");
        assert_eq!(form.body(), "l2tp=true&s=two&t=z");
    }
}
