//! How each type of value is written and read in words.

use std::net::{IpAddr, Ipv4Addr};

use super::{Kind, UNSET};
use crate::settings::firewall::Ipv6Ipsec;
use crate::settings::internet::Mode;
use crate::settings::names::{
    Account, DmzHost, Domain, HostName, IdleMinutes, IfName, InterfaceAddress, Label, Lease, Mac, Mtu, Port,
    PortList, Secret, Spi, TimeZone, Wrong, wrong,
};
use crate::settings::passthrough::{Allowed, Limit};
use crate::settings::{Device, Forward, Role};

/// A value in words.
pub(super) trait InWords: Sized {
    /// What a form needs to know.
    const KIND: Kind = Kind::Value;
    /// Whether [`UNSET`] is one of its words.
    const OPTIONAL: bool = false;
    /// In words.
    fn words(&self) -> String;
    /// From words; a sentence when they are none of ours.
    fn parse(words: &str) -> Result<Self, Wrong>;
}

/// Types that are written by `Display` and read by `FromStr` with a sentence for an error.
macro_rules! by_themselves {
    ($($name:ty: $kind:ident),* $(,)?) => {$(
        impl InWords for $name {
            const KIND: Kind = Kind::$kind;
            fn words(&self) -> String {
                self.to_string()
            }
            fn parse(words: &str) -> Result<Self, Wrong> {
                words.parse()
            }
        }
    )*};
}
by_themselves!(
    IfName: Value, Mac: Value, InterfaceAddress: Value, Port: Value, Mtu: Value, Label: Value, HostName: Value,
    Domain: Value, Lease: Value, IdleMinutes: Value, TimeZone: Value, Spi: Value, DmzHost: Value, Limit: Value,
    Account: Value, Secret: Secret,
);

/// Types that are one of a few words.
macro_rules! one_of {
    ($name:ty { $($variant:ident = $word:literal),* }) => {
        impl InWords for $name {
            const KIND: Kind = Kind::Choice(&[$($word),*]);
            fn words(&self) -> String {
                match self { $(Self::$variant => $word.to_owned(),)* }
            }
            fn parse(words: &str) -> Result<Self, Wrong> {
                match words {
                    $($word => Ok(Self::$variant),)*
                    _ => wrong(concat!("Write one of these words:" $(, " ", $word)*, ".")),
                }
            }
        }
    };
}
one_of!(Role { Unset = "unset", Router = "router", Companion = "companion" });
one_of!(Mode { Dhcp = "dhcp", Static = "static", Pppoe = "pppoe" });
one_of!(Ipv6Ipsec { Rfc6092 = "rfc6092", Strict = "strict" });

impl InWords for bool {
    const KIND: Kind = Kind::Switch;
    fn words(&self) -> String {
        self.to_string()
    }
    fn parse(words: &str) -> Result<Self, Wrong> {
        match words {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => wrong("Write true or false."),
        }
    }
}

/// Types of the standard library, whose own errors are no sentences.
macro_rules! with_sentence {
    ($name:ty, $sentence:literal) => {
        impl InWords for $name {
            fn words(&self) -> String {
                self.to_string()
            }
            fn parse(words: &str) -> Result<Self, Wrong> {
                words.parse().or_else(|_| wrong($sentence))
            }
        }
    };
}
with_sentence!(Ipv4Addr, "Write an IPv4 address, for example 192.168.1.20.");
with_sentence!(IpAddr, "Write addresses with commas between them, for example 9.9.9.9,2620:fe::fe.");

impl<T: InWords> InWords for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;
    fn words(&self) -> String {
        self.as_ref().map_or_else(|| UNSET.to_owned(), T::words)
    }
    fn parse(words: &str) -> Result<Self, Wrong> {
        match words {
            "" | UNSET => Ok(None),
            _ => T::parse(words).map(Some),
        }
    }
}

/// Words with commas between them, blanks around the commas allowed. An error names the word, which may be one of a thousand.
fn list<T: InWords>(words: &str) -> Result<Vec<T>, Wrong> {
    let named = |word: &str, wrong: Wrong| {
        let shown: String = word.chars().filter(|c| !c.is_control()).take(40).collect();
        let told = shown.is_empty() || wrong.0.split(' ').any(|part| part == shown);
        if told { wrong } else { Wrong(format!("\u{201c}{shown}\u{201d}: {}", wrong.0)) }
    };
    words.split(',').map(str::trim).map(|word| T::parse(word).map_err(|wrong| named(word, wrong))).collect()
}

impl<T: InWords> InWords for Vec<T> {
    const KIND: Kind = Kind::List;
    const OPTIONAL: bool = true;
    fn words(&self) -> String {
        match self.as_slice() {
            [] => UNSET.to_owned(),
            some => some.iter().map(T::words).collect::<Vec<_>>().join(","),
        }
    }
    fn parse(words: &str) -> Result<Self, Wrong> {
        match words {
            "" | UNSET => Ok(Vec::new()),
            _ => list(words),
        }
    }
}

impl InWords for PortList {
    const KIND: Kind = Kind::List;
    fn words(&self) -> String {
        self.to_string()
    }
    fn parse(words: &str) -> Result<Self, Wrong> {
        list::<Port>(words)?.try_into()
    }
}

impl InWords for Allowed {
    const KIND: Kind = Kind::List;
    fn words(&self) -> String {
        match self {
            Self::Everyone => "everyone".to_owned(),
            Self::Only(macs) => macs.words(),
        }
    }
    fn parse(words: &str) -> Result<Self, Wrong> {
        match words {
            "everyone" => Ok(Self::Everyone),
            "" | UNSET => wrong(Self::NOBODY),
            _ => list(words).map(Self::Only),
        }
    }
}

/// Records are read as sentences, `; ` between them (no name can hold a semicolon), and never written so.
macro_rules! records {
    ($name:ty, $one:expr) => {
        impl InWords for Vec<$name> {
            const KIND: Kind = Kind::Records;
            const OPTIONAL: bool = true;
            fn words(&self) -> String {
                match self.as_slice() {
                    [] => UNSET.to_owned(),
                    some => some.iter().map($one).collect::<Vec<String>>().join("; "),
                }
            }
            fn parse(_: &str) -> Result<Self, Wrong> {
                wrong("This list cannot be written as one value.")
            }
        }
    };
}
records!(Device, |device| match device.address {
    Some(address) => format!("{} {} {address}", device.name, device.mac),
    None => format!("{} {}", device.name, device.mac),
});
records!(Forward, |forward| { format!("{} {}", forward.name, forward.words()) });
