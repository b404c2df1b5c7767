//! Words and numbers from outside, parsed once and trusted after. Only these types may reach nft text, a file name or
//! a child's configuration; none of them can hold a quote, a newline, a brace or a backslash.

mod network;
mod text;
mod until;

use serde::de::{self, Deserializer, Visitor};

pub use network::{IfName, InterfaceAddress, Mac, Mtu, Port, PortList, PortRange, Target};
pub use text::{Account, Domain, HostName, IdleMinutes, Label, Lease, Secret, TimeZone};
pub use until::{DmzHost, Spi, Time};

/// What was typed is not one of these; the sentence says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

/// Refuses with a sentence.
pub(super) fn wrong<T>(sentence: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(sentence.into()))
}

/// Reads one word: a string, or a number as the string that a person would type for it. TOML and JSON may say
/// `port = 80` as well as `port = "80"`.
pub(super) fn word<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    struct Word;
    impl Visitor<'_> for Word {
        type Value = String;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a word or a number")
        }
        fn visit_str<E: de::Error>(self, s: &str) -> Result<String, E> {
            Ok(s.to_owned())
        }
        fn visit_u64<E: de::Error>(self, n: u64) -> Result<String, E> {
            Ok(n.to_string())
        }
        fn visit_i64<E: de::Error>(self, n: i64) -> Result<String, E> {
            Ok(n.to_string())
        }
    }
    d.deserialize_any(Word)
}

/// Serde by the words people type: `Display` out, `FromStr` in.
macro_rules! in_words {
    ($($name:ty),* $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::settings::names::word(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(super) use in_words;
