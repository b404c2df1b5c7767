//! A server that has gone, as far as anybody can tell: nothing reaches it and nothing comes from it.

use crate::host::Host;
use crate::lab::Lab;
use crate::topology::{address, address6};

/// A silent server; it speaks again when this is dropped.
#[derive(Debug)]
pub struct Silence {
    internet: Host,
    table: String,
}

impl Lab {
    /// Makes the internet lose every packet to and from `server`, without a word to anybody. Its programs notice nothing.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    #[must_use]
    pub fn silence(&self, server: &str) -> Silence {
        let internet = self.host("internet");
        let table = format!("lab_silence_{server}");
        let (v4, v6) = (address(server), address6(server));
        let rules = format!(
            "table inet {table} {{ chain c {{ type filter hook prerouting priority raw;
                ip saddr {v4} drop; ip daddr {v4} drop; ip6 saddr {v6} drop; ip6 daddr {v6} drop; }}\n}}"
        );
        internet.ok_with(&["nft", "-f", "-"], &rules);
        Silence { internet, table }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.internet.ok(&["nft", "delete", "table", "inet", &self.table]);
        }
    }
}
