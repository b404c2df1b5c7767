//! What packets teach the rules: the sets and maps that rules fill and the kernel empties. A swap of the rules leaves
//! their elements alone, so a tunnel outlives it.

use std::fmt;

/// Most elements of one set or map: no home has so many tunnels, and 32,768 of them take about 4 MB. With the limits of
/// new elements per device (see `passthrough/ipsec/many_clients.rs`) one device cannot fill those that live an hour; those that
/// live 4 hours and are filled by new SPIs and new cookies alike it could, in 3 hours at its full rate.
const SIZE: u32 = 32_768;

/// A set, or a map, of elements with a timeout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Learnt {
    /// Its name in the kernel.
    pub(super) name: &'static str,
    /// `set` or `map`.
    kind: &'static str,
    /// The expressions its keys (and values) have the type of.
    pub(super) of: &'static str,
    /// How long an element lives that is not renewed, as nft writes it, unless the rule that adds it says otherwise.
    timeout: &'static str,
    /// Most elements.
    size: u32,
    /// What it means to have an element in it.
    pub(super) why: &'static str,
}

impl Learnt {
    pub(super) const fn set(
        name: &'static str,
        of: &'static str,
        timeout: &'static str,
        why: &'static str,
    ) -> Self {
        Self { name, kind: "set", of, timeout, size: SIZE, why }
    }

    pub(super) const fn map(
        name: &'static str,
        of: &'static str,
        timeout: &'static str,
        why: &'static str,
    ) -> Self {
        Self { name, kind: "map", of, timeout, size: SIZE, why }
    }

    /// With at most so many elements.
    pub(super) const fn sized(self, size: u32) -> Self {
        Self { size, ..self }
    }

    /// The command that empties it.
    pub(super) fn flush(&self) -> String {
        format!("flush {} inet postern {}", self.kind, self.name)
    }
}

/// Matches whatever comes within 100 ms of another with the same `key`. A rule that looks into a set and then fills it does so in two
/// steps, and another processor may look between them; this is one step, under the lock of the element's own limit
/// (`net/netfilter/nft_limit.c`). Such a set needs no longer timeout than a second.
pub(super) fn at_once(set: &str, key: &str) -> String {
    format!("update @{set} {{ {key} limit rate over 10/second burst 1 packets }}")
}

/// As a declaration inside the table.
impl fmt::Display for Learnt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, of, timeout, size, why } = self;
        write!(
            f,
            "\t{kind} {name} {{\n\t\ttypeof {of}\n\t\tsize {size}\n\t\tflags dynamic,timeout\n\t\ttimeout {timeout}\n\t\t\
             comment \"{why}\"\n\t}}\n"
        )
    }
}
