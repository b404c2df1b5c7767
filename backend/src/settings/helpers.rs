//! `helpers.*`: the kernel's other application-layer helpers. All off in the factory state: each lets a device
//! (or a web page it opens) ask the router for an open port, which is what NAT slipstreaming abuses.

use serde::{Deserialize, Serialize};

/// Which helpers are attached to connections from the local network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Helpers {
    /// FTP, TCP 21.
    pub ftp: bool,
    /// TFTP, UDP 69.
    pub tftp: bool,
    /// SIP, UDP and TCP 5060.
    pub sip: bool,
    /// H.323, UDP 1719 and TCP 1720.
    pub h323: bool,
    /// IRC DCC, TCP 6667.
    pub irc: bool,
    /// SANE scanners, TCP 6566.
    pub sane: bool,
    /// Amanda backup, UDP 10080.
    pub amanda: bool,
    /// SNMP trap, UDP 161.
    pub snmp: bool,
    /// NetBIOS name service, UDP 137.
    pub netbios: bool,
}
