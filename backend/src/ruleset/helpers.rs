//! The kernel's conntrack helpers: what they are, and the rules of those that `helpers.*` switches on. PPTP's rules are in
//! `passthrough/pptp.rs`.
//!
//! A helper reads a connection and announces others, which conntrack then calls `related`. What it reads was written by a
//! program of the home, or by a web page that made a browser write it (NAT slipstreaming, <https://samy.pl/slipstream/>), and
//! by the server. So what it announces is not simply accepted, but only what all of this holds for:
//!
//! - it comes from the internet, over IPv4, in the transport that the helper is for, to an unprivileged port;
//! - a helper of this name announced it (`ct helper`: the name of the *announcing* connection's helper);
//! - it goes to a host of the home that itself began such a connection, and comes from the very server of that connection
//!   (IRC: from anybody, since other people's computers send the files).
//!
//! The last one is by sets, which the connections themselves fill and renew, because nftables cannot ask a related packet for
//! the addresses of the connection that announced it: `ct original` and `ct reply` are its own. It holds whatever
//! parameters the kernel's modules were loaded with: call forwarding of H.323 names *any* host (`expect_callforwarding`,
//! nf_conntrack_h323_main.c; slipstreaming v2), and so does SIP without `sip_direct_media`.
//!
//! **What is not offered.** *SANE* and *Amanda* announce connections that go from the home to the server (nf_conntrack_sane.c;
//! nf_conntrack_amanda.c expects the tuple of the original direction): those pass without help. *NetBIOS* and *SNMP* wait for
//! answers to broadcasts of the router itself (nf_conntrack_broadcast.c: `skb->sk`, and no address but a broadcast); it sends
//! none. What SNMP's other half does, to write the router's address into traps (nf_nat_snmp_basic), makes all devices
//! look like one.

use serde::{Deserialize, Serialize};

use super::learnt::Learnt;
use super::table::{Chain, Counter, Table};
use super::{Capabilities, FlowMatch, Sides};
use crate::settings::forwards::Preset;
use crate::settings::{Forward, Role, Settings};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A helper, or several of the kernel that make one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Helper {
    /// PPTP; its switch is `passthrough.pptp.enabled`.
    Pptp,
    /// FTP in active mode (RFC 959 section 3.2).
    Ftp,
    /// TFTP: the server answers from another port (RFC 1350 section 4).
    Tftp,
    /// SIP over UDP and TCP (RFC 3261).
    Sip,
    /// H.323: RAS and Q.931, which announces H.245, which announces the voice.
    H323,
    /// IRC: files and chats from one person to another (DCC).
    Irc,
}

/// One `ct helper` object.
struct Object {
    /// Its name in our table.
    name: &'static str,
    /// The kernel's name.
    kind: &'static str,
    protocol: u8,
    /// The well-known port of its servers. PPTP's are a setting.
    port: u16,
}

impl Helper {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Pptp, Self::Ftp, Self::Tftp, Self::Sip, Self::H323, Self::Irc];

    /// Its word in settings and rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pptp => "pptp",
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
            Self::Sip => "sip",
            Self::H323 => "h323",
            Self::Irc => "irc",
        }
    }

    fn objects(self) -> &'static [Object] {
        const fn object(name: &'static str, kind: &'static str, protocol: u8, port: u16) -> Object {
            Object { name, kind, protocol, port }
        }
        match self {
            Self::Pptp => const { &[object("pptp", "pptp", TCP, 1723)] },
            Self::Ftp => const { &[object("ftp", "ftp", TCP, 21)] },
            Self::Tftp => const { &[object("tftp", "tftp", UDP, 69)] },
            Self::Sip => {
                const { &[object("sip_udp", "sip", UDP, 5060), object("sip_tcp", "sip", TCP, 5060)] }
            }
            Self::H323 => const { &[object("ras", "RAS", UDP, 1719), object("q931", "Q.931", TCP, 1720)] },
            Self::Irc => const { &[object("irc", "irc", TCP, 6667)] },
        }
    }

    /// The kernel's helpers whose announcements are this one's. H.245 has no object: Q.931 attaches it.
    pub fn kernel_names(self) -> &'static [&'static str] {
        match self {
            Self::Pptp => &["pptp"],
            Self::Ftp => &["ftp"],
            Self::Tftp => &["tftp"],
            Self::Sip => &["sip"],
            Self::H323 => &["RAS", "Q.931", "H.245"],
            Self::Irc => &["irc"],
        }
    }

    /// The modules that make it: connection tracking, then address translation. nf_tables loads the former by itself and
    /// never the latter.
    pub fn modules(self) -> [String; 2] {
        [format!("nf_conntrack_{}", self.name()), format!("nf_nat_{}", self.name())]
    }

    /// The connections it is attached to, PPTP's apart.
    pub fn flows(self) -> Vec<FlowMatch> {
        let flow = |object: &Object| FlowMatch { protocol: object.protocol, server_port: Some(object.port) };
        self.objects().iter().map(flow).collect()
    }

    /// Whether the owner wants it. PPTP's: for calls of the home, or to a server of the home.
    pub fn wanted(self, settings: &Settings) -> bool {
        let helpers = &settings.helpers;
        let serves = |forward: &Forward| forward.enabled && forward.preset == Some(Preset::Pptp);
        match self {
            Self::Pptp => settings.passthrough.pptp.enabled || settings.forwards.iter().any(serves),
            Self::Ftp => helpers.ftp,
            Self::Tftp => helpers.tftp,
            Self::Sip => helpers.sip,
            Self::H323 => helpers.h323,
            Self::Irc => helpers.irc,
        }
    }

    /// Its objects, as declarations inside a table.
    pub fn declared(self) -> String {
        let mut text = String::new();
        for Object { name, kind, protocol, .. } in self.objects() {
            let protocol = transport(*protocol);
            text += &format!(
                "\tct helper {name} {{\n\t\ttype \"{kind}\" protocol {protocol}\n\t\tl3proto ip\n\t}}\n"
            );
        }
        text
    }

    /// What counts the connections that it let in.
    pub fn counter(self) -> Option<Counter> {
        self.rules().map(|rules| rules.counter)
    }

    /// What the rules for `helpers.*` know of it; none: PPTP.
    fn rules(self) -> Option<Rules> {
        Some(match self {
            Self::Pptp => return None,
            Self::Ftp => Rules {
                announced: &[TCP],
                hosts: Learnt::set("ftp_hosts", PAIR, LONG, "hosts of the home and their FTP servers"),
                counter: Counter::FtpLetIn,
            },
            Self::Tftp => Rules {
                announced: &[UDP],
                hosts: Learnt::set("tftp_hosts", PAIR, SHORT, "hosts of the home and their TFTP servers"),
                counter: Counter::TftpLetIn,
            },
            // Voice, and calls to a telephone that has registered over UDP. One that has over TCP is called in that
            // connection (RFC 5626); a web page can only write TCP.
            Self::Sip => Rules {
                announced: &[UDP],
                hosts: Learnt::set("sip_hosts", PAIR, LONG, "hosts of the home and their SIP servers"),
                counter: Counter::SipLetIn,
            },
            Self::H323 => Rules {
                announced: &[TCP, UDP],
                hosts: Learnt::set("h323_hosts", PAIR, LONG, "hosts of the home and their H.323 peers"),
                counter: Counter::H323LetIn,
            },
            // `nf_conntrack_irc.c` expects anybody.
            Self::Irc => Rules {
                announced: &[TCP],
                hosts: Learnt::set("irc_hosts", "ip saddr", LONG, "hosts of the home that use IRC"),
                counter: Counter::IrcLetIn,
            },
        })
    }
}

struct Rules {
    /// Protocols of what it may announce.
    announced: &'static [u8],
    /// Who has a connection with it, and with which server. A host, or [`PAIR`].
    hosts: Learnt,
    counter: Counter,
}

const PAIR: &str = "ip saddr . ip daddr";
/// Longer than what is in the set is silent: people's chats, a telephone that registers anew once an hour.
const LONG: &str = "2h";
const SHORT: &str = "10m";
/// New connections of a device, of two a second. More get no helper, and one device cannot fill the sets.
const RATE: Learnt = Learnt::set("helper_rate", "ether saddr", "2m", "new connections of a device, limited");

/// TCP connections that were let in, seen from the home. Conntrack takes a TCP packet out of the blue for a new connection
/// (`nf_conntrack_tcp_loose`), so a device that goes on sending would begin anew what has been ended. For as long as an open
/// connection is remembered.
const LET_IN: Learnt = Learnt::set(
    "helper_let_in",
    "ip saddr . th sport . ip daddr . th dport",
    "1d",
    "TCP connections that a helper let in, as the home sends in them",
);

fn transport(protocol: u8) -> &'static str {
    if protocol == TCP { "tcp" } else { "udp" }
}

/// Those of `helpers.*` that are on, and that this kernel has.
pub fn on(settings: &Settings, capabilities: &Capabilities) -> Vec<Helper> {
    let ours = |helper: &Helper| {
        settings.role == Role::Router
            && helper.rules().is_some()
            && helper.wanted(settings)
            && capabilities.knows(*helper)
    };
    Helper::ALL.into_iter().filter(ours).collect()
}

/// Their connections must not leave `forward` by its first rules: each of their packets renews what is known of them.
pub(super) fn flows(settings: &Settings, capabilities: &Capabilities) -> Vec<FlowMatch> {
    on(settings, capabilities).into_iter().flat_map(Helper::flows).collect()
}

pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    let on = on(settings, capabilities);
    for (helper, rules) in Helper::ALL.into_iter().filter_map(|helper| Some((helper, helper.rules()?))) {
        match on.contains(&helper) {
            true => table.learnt(&[rules.hosts]),
            false => table.forgotten(&[rules.hosts]),
        }
    }
    table.learnt(&[LET_IN]);
    if on.is_empty() {
        return;
    }
    table.learnt(&[RATE]);
    let enough = "update @helper_rate { ether saddr limit rate over 2/second burst 100 packets } return";
    for protocol in [TCP, UDP] {
        let ours = on.iter().flat_map(|helper| helper.objects()).filter(|object| object.protocol == protocol);
        let ports: Vec<String> = ours.map(|object| object.port.to_string()).collect();
        if !ports.is_empty() {
            let rule =
                format!("{} dport {{ {} }} ct state new {enough}", transport(protocol), ports.join(", "));
            table.rule(
                Chain::Helpers,
                rule,
                "too many new connections of one device: the others get no helper",
            );
        }
    }
    for helper in on {
        table.helper(helper);
        attach(table, helper);
        let_in(table, sides, helper);
    }
}

/// As PPTP's (see `passthrough/pptp.rs`): IPv4, from the first packet on, after the conntrack lookup, and before the
/// source is translated, which is when the kernel makes room for changed lengths (`nfct_seqadj_ext_add` in `nf_nat_setup_info`).
fn attach(table: &mut Table, helper: Helper) {
    let Some(Rules { hosts, .. }) = helper.rules() else { return };
    let (set, key) = (hosts.name, hosts.of);
    for Object { name, protocol, port, .. } in helper.objects() {
        let these = format!("{} dport {port} ct direction original", transport(*protocol));
        let mut rule = |rule: &str, why| table.rule(Chain::Helpers, format!("{these} {rule}"), why);
        rule(&format!("ct state new update @{set} {{ {key} }}"), "who is with whom");
        rule(&format!("ct state new ct helper set \"{name}\""), "it may announce connections");
        rule(&format!("{key} @{set} update @{set} {{ {key} }}"), "still");
    }
}

fn let_in(table: &mut Table, sides: &Sides, helper: Helper) {
    let Some(Rules { announced, hosts, counter }) = helper.rules() else { return };
    let names: Vec<String> = helper.kernel_names().iter().map(|name| format!("\"{name}\"")).collect();
    let host = if hosts.of == PAIR { "ip daddr . ip saddr" } else { "ip daddr" };
    for protocol in announced.iter().copied() {
        // Full: nothing more is let in, as it could not be ended for good.
        let remembered = match protocol {
            TCP => "update @helper_let_in { ip daddr . th dport . ip saddr . th sport } ",
            _ => "",
        };
        table.rule(
            Chain::Related,
            format!(
                "{} meta nfproto ipv4 meta l4proto {protocol} th dport >= 1024 ct helper {{ {} }} {host} @{} {remembered}{counter} \
                 accept",
                sides.inward(),
                names.join(", "),
                hosts.name,
            ),
            "announced, for a host that itself has such a connection",
        );
    }
}

/// Ends what a helper let in for good: its entry is deleted when the helper is switched off, and this is what the home then
/// finds in the place of it.
pub(super) fn not_begun_anew(table: &mut Table, sides: &Sides) {
    table.rule(
        Chain::Forward,
        format!(
            "{} meta nfproto ipv4 meta l4proto {TCP} tcp flags & syn == 0 \
             ip saddr . th sport . ip daddr . th dport @helper_let_in reject with tcp reset",
            sides.outward()
        ),
        "a connection that a helper let in is not begun anew by its answers",
    );
}
