//! Random changes of settings, in words: what owners do, all at once and in any order, and now and then nonsense. For tests that want
//! thousands. The lab's tests read this file too, so it names no type of this crate.

/// What changes may be about.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// A time to come, less than a day from now, as settings write it.
    pub until: &'a str,
    /// Whether role, ports and addresses of the box may move, so that a change is on trial.
    pub moves: bool,
    /// The ports of the box: the one to the internet, and two of the home.
    pub ports: [&'a str; 3],
    /// One value in so many is nonsense; 0: none.
    pub nonsense: u64,
}

/// Numbers below the one asked for, the same ones for the same seed (SplitMix64: Steele, Lea, Flood 2014).
pub fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |end| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

const SWITCHES: [&str; 23] = [
    "passthrough.pptp.enabled",
    "passthrough.l2tp.enabled",
    "passthrough.ipsec.enabled",
    "passthrough.ipsec.nat_traversal",
    "passthrough.ipsec.many_clients",
    "passthrough.pptp.enabled",
    "passthrough.ipsec.many_clients",
    "helpers.ftp",
    "helpers.tftp",
    "helpers.sip",
    "helpers.h323",
    "helpers.irc",
    "helpers.sane",
    "helpers.snmp",
    "internet.mss_clamp",
    "internet.ipv6",
    "local_network.dhcp.enabled",
    "local_network.dns.enabled",
    "local_network.dns.rebind_protection",
    "firewall.ping",
    "firewall.ping",
    "passthrough.l2tp.enabled",
    "passthrough.ipsec.enabled",
];

const NONSENSE: [&str; 10] = [
    "perhaps",
    "-1",
    "70000",
    "192.168.1.300",
    "x\"; flush ruleset; add chain inet postern forward { policy accept; } #",
    "tcp 1-65536 to 0.0.0.0",
    "lan0 lan1",
    "everyone,everyone",
    "0",
    "2001-01-01",
];

type Below<'a> = &'a mut dyn FnMut(u64) -> u64;

fn one_of<'a>(below: Below<'_>, words: &[&'a str]) -> &'a str {
    words[below(words.len() as u64) as usize]
}

fn some(below: Below<'_>, most: u64, word: impl Fn(u64) -> String) -> String {
    let count = 1 + below(most);
    let mut words: Vec<String> = (0..count).map(|_| word(below(12))).collect();
    words.sort();
    words.dedup();
    words.join(",")
}

/// An address that devices have, mostly.
fn device(below: Below<'_>) -> String {
    format!("192.168.1.{}", 1 + below(30))
}

/// Between one and four keys with their new values.
pub fn change(below: Below<'_>, around: Around<'_>) -> Vec<(String, String)> {
    let count = 1 + below(4);
    (0..count)
        .map(|_| {
            let (key, value) = one(below, around);
            let odd = around.nonsense > 0 && below(around.nonsense) == 0;
            (key, if odd { one_of(below, &NONSENSE).to_owned() } else { value })
        })
        .collect()
}

fn one(below: Below<'_>, around: Around<'_>) -> (String, String) {
    let switch = |below: Below<'_>| one_of(below, &["true", "false"]).to_owned();
    let kinds = if around.moves { 22 } else { 17 };
    let (key, value) = match below(kinds) {
        0..=4 => (one_of(below, &SWITCHES), switch(below)),
        5 => (
            "passthrough.pptp.ports",
            some(below, 5, |n| ["1723", "1823", "2000", "65535", "1", "1701"][n as usize % 6].to_owned()),
        ),
        6 => (
            "passthrough.l2tp.ports",
            some(below, 4, |n| ["1701", "1702", "3000", "4500", "1723", "7"][n as usize % 6].to_owned()),
        ),
        7 if below(3) == 0 => ("passthrough.devices", "everyone".to_owned()),
        7 => ("passthrough.devices", some(below, 4, |n| format!("02:00:00:00:01:{n:02x}"))),
        8 if below(3) == 0 => ("passthrough.priority", "none".to_owned()),
        8 => ("passthrough.priority", some(below, 4, |n| format!("02:00:00:00:01:{n:02x}"))),
        9 => {
            let limits = [
                "passthrough.session_limit.pptp",
                "passthrough.session_limit.l2tp",
                "passthrough.session_limit.ipsec",
            ];
            (one_of(below, &limits), one_of(below, &["none", "1", "2", "40", "1000", "1001"]).to_owned())
        }
        10..=12 => return forward(below),
        13 => ("firewall.ipv6_ipsec", one_of(below, &["rfc6092", "strict"]).to_owned()),
        14 => match below(4) {
            0 => ("firewall.spi", format!("off until {}", around.until)),
            1 => ("firewall.spi", "on".to_owned()),
            2 => ("firewall.dmz", format!("{} until {}", device(below), around.until)),
            _ => ("firewall.dmz", "none".to_owned()),
        },
        15 => match below(4) {
            0 => ("internet.mtu", one_of(below, &["auto", "1400", "1492", "9000", "500"]).to_owned()),
            1 => (
                "internet.dns",
                one_of(below, &["auto", "9.9.9.9", "9.9.9.9,2620:fe::fe", "127.0.0.1"]).to_owned(),
            ),
            2 => ("local_network.dhcp.lease", one_of(below, &["2m", "12h", "30d", "1m"]).to_owned()),
            _ => ("local_network.domain", one_of(below, &["home.arpa", "lan.example", "-"]).to_owned()),
        },
        16 => match below(3) {
            0 => ("system.name", format!("box-{}", below(100))),
            1 => ("system.timezone", one_of(below, &["UTC", "Europe/Berlin", "Mars/Olympus"]).to_owned()),
            _ => ("access.idle_minutes", (below(62)).to_string()),
        },
        17 => ("role", one_of(below, &["router", "router", "router", "companion", "unset"]).to_owned()),
        18 => match below(3) {
            0 => ("internet.mode", one_of(below, &["static", "static", "dhcp", "pppoe"]).to_owned()),
            1 => ("internet.pppoe.user", "home@provider".to_owned()),
            _ => ("internet.pppoe.password", "s3cret".to_owned()),
        },
        19 => (
            "internet.device",
            one_of(below, &[around.ports[0], around.ports[0], around.ports[1], "unset"]).to_owned(),
        ),
        20 => {
            let [_, one, two] = around.ports;
            let both = format!("{one},{two}");
            ("local_network.devices", one_of(below, &[one, two, &both, around.ports[0], "unset"]).to_owned())
        }
        _ => match below(3) {
            0 => (
                "local_network.address",
                one_of(below, &["192.168.1.1/24", "192.168.1.2/24", "192.168.1.1/27", "8.8.8.8/24"])
                    .to_owned(),
            ),
            1 => ("access.port", one_of(below, &["80", "8080", "22", "443"]).to_owned()),
            _ => ("access.https_port", one_of(below, &["443", "8443", "80"]).to_owned()),
        },
    };
    (key.to_owned(), value)
}

/// One of eight port forwards is made, changed, switched off or removed.
fn forward(below: Below<'_>) -> (String, String) {
    let name = format!("forwards.Server {}", below(8));
    let to = device(below);
    let off = if below(5) == 0 { " (off)" } else { "" };
    let first = [80, 443, 500, 1194, 1701, 1723, 4500, 5000, 8080, 65000][below(10) as usize];
    let words = match below(9) {
        0..=1 => "unset".to_owned(),
        2..=4 => format!(
            "{} to {to}{off}",
            one_of(below, &["pptp", "l2tp", "ikev2", "openvpn", "wireguard", "sstp"])
        ),
        5..=6 => format!("{} {first} to {to}{off}", one_of(below, &["tcp", "udp"])),
        7 => format!("{} {first} to {to}:{}{off}", one_of(below, &["tcp", "udp"]), 1 + below(65535)),
        _ => format!("{} {first}-{} to {to}{off}", one_of(below, &["tcp", "udp"]), first + below(500)),
    };
    (name, words)
}
