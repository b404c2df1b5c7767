//! What the packet bench compares: rules as text.

use lab::Postern;

/// A name and the whole text that nft loads; empty: no netfilter at all.
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) rules: String,
}

/// Two rules: the yardstick.
const BARE: &str = r#"table inet rival {
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established accept
    }
    chain srcnat {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "wan0" meta nfproto ipv4 masquerade
    }
}
"#;

/// What a careful person writes by hand: 12 rules.
const PLAIN: &str = r#"table inet rival {
    chain input {
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        ct state established,related accept
        ct state invalid drop
        icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        iifname "lan0" accept
        counter drop
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname "lan0" oifname "wan0" accept
        iifname "lan0" oifname "lan0" accept
        counter drop
    }
    chain srcnat {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "wan0" meta nfproto ipv4 masquerade
    }
}
"#;

/// Everything that can be on.
const ALL_ON: [&str; 3] =
    ["passthrough.pptp.enabled=true", "passthrough.l2tp.enabled=true", "passthrough.ipsec.enabled=true"];
const MANY_CLIENTS: &str = "passthrough.ipsec.many_clients=true";
/// Elements that should cost an ordinary packet nothing.
pub(super) const MANY: u32 = 1_000;
/// What the engine learns, by name: the SPIs of servers and of clients.
const LEARNT: [&str; 2] = ["esp_in", "esp_sent"];

/// Place of the yardstick's second self.
pub(super) const AGAIN: usize = 1;

/// The yardstick first and then itself again, which is the noise.
pub(super) fn all(postern: &Postern) -> Vec<Contestant> {
    let factory = postern.ok(&["rules"]);
    postern.set(&[&ALL_ON[..], &[MANY_CLIENTS]].concat());
    let everything = postern.ok(&["rules"]);
    let mut all = vec![
        contestant("bare masquerade", BARE),
        contestant("bare again (noise)", BARE),
        contestant("no netfilter", ""),
        contestant("plain nft, 12 rules", PLAIN),
        contestant("Postern, factory", &factory),
        contestant("Postern, all on", &everything),
    ];
    let learnt: Vec<_> = LEARNT.into_iter().filter_map(|name| elements(&everything, name)).collect();
    if learnt.len() == LEARNT.len() {
        all.push(contestant("all on, 1,000 SPIs", &format!("{everything}\n{}", learnt.concat())));
    } else {
        println!(
            "packets: {} are not in the rules, or cannot be filled: no figure with 1,000 SPIs",
            LEARNT.join(", ")
        );
    }
    for (name, count) in [("all on, rule with set of 1", 1), ("all on, rule with set of 1k", MANY)] {
        all.push(contestant(name, &format!("{everything}\n{}", looked_up(count))));
    }
    for (name, count) in [("all on, 1 device chosen", 1), ("all on, 1,000 chosen", MANY)] {
        postern.set(&[&chosen(count)]);
        all.push(contestant(name, &postern.ok(&["rules"])));
    }
    all
}

/// One rule more, which leads a port to a device.
const FORWARDED: &str = r#"table inet rival {
    chain dstnat {
        type nat hook prerouting priority dstnat; policy accept;
        iifname "wan0" meta nfproto ipv4 udp dport 20000 dnat ip to 192.168.1.2
    }
}
"#;

/// So many forwards of one port each, or of ten; the first one is what is sent to.
pub(super) fn forwards(count: u32, ports: u32) -> String {
    let forward = |n: u32| {
        let (first, last) = (20_000 + n * ports, 20_000 + n * ports + ports - 1);
        let port = if ports == 1 { first.to_string() } else { format!("{first}-{last}") };
        format!(
            "{{ name = \"f{n}\", protocol = \"udp\", port = \"{port}\", to = \"192.168.1.{}\" }},\n",
            2 + n % 250
        )
    };
    format!("forwards = [\n{}]\n", (0..count).map(forward).collect::<String>())
}

/// The rules with these forwards, which the daemon takes.
pub(super) fn with(postern: &Postern, forwards: &str) -> String {
    let exported = postern.ok(&["export"]);
    // Keys of the document come before its sections, and the sections of forwards are replaced.
    let rest = exported.split("\n[[forwards]]").next().unwrap_or_default();
    let rest: Vec<_> = rest.lines().filter(|line| !line.starts_with("forwards =")).collect();
    let rest = rest.join("\n");
    let taken = postern.cli_with(&["import", "-"], &format!("{forwards}{rest}"));
    assert!(taken.ok(), "the forwards are refused: {}", taken.err);
    postern.ok(&["rules"])
}

/// What forwards cost, and what it costs that devices are chosen beside one.
pub(super) fn forwarding(postern: &Postern) -> Vec<Contestant> {
    let bare = format!("{BARE}{FORWARDED}");
    let map: Vec<_> = (20_000..21_000).map(|port| format!("{port} : 192.168.1.2")).collect();
    let one_map = FORWARDED.replace(
        "udp dport 20000 dnat ip to 192.168.1.2",
        &format!("dnat ip to udp dport map {{ {} }}", map.join(", ")),
    );
    let mut all = vec![
        contestant("bare, 1 dnat rule", &bare),
        contestant("bare again (noise)", &bare),
        contestant("bare, 1 map of 1,000", &format!("{BARE}{one_map}")),
    ];
    for (name, count, ports) in [
        ("Postern, 1 forward", 1, 1),
        ("Postern, 1,000 forwards", MANY, 1),
        ("Postern, 1 range", 1, 10),
        ("Postern, 1,000 ranges", MANY, 10),
    ] {
        all.push(contestant(name, &with(postern, &forwards(count, ports))));
    }
    with(postern, &forwards(1, 1));
    postern.set(&ALL_ON);
    for (name, count) in [("1 forward, 1 device chosen", 1), ("1 forward, 1,000 chosen", MANY)] {
        postern.set(&[&chosen(count)]);
        all.push(contestant(name, &postern.ok(&["rules"])));
    }
    all
}

/// So many devices may use passthrough; the sender is none of them, so each of its new flows is looked up and dispatched.
fn chosen(count: u32) -> String {
    let devices: Vec<_> =
        (0..count).map(|n| format!("06:00:00:00:{:02x}:{:02x}", n / 256, n % 256)).collect();
    format!("passthrough.devices={}", devices.join(","))
}

fn contestant(name: &str, rules: &str) -> Contestant {
    Contestant { name: name.to_owned(), rules: rules.to_owned() }
}

/// A set of `count` ports and, first of the forwarding rules, one that looks every packet's up and finds none.
fn looked_up(count: u32) -> String {
    let ports: Vec<_> = (10_000..10_000 + count).map(|port| port.to_string()).collect();
    format!(
        "add set inet postern bench {{ type inet_service; elements = {{ {} }}; }}\n\
         insert rule inet postern forward meta l4proto {{ tcp, udp }} th dport @bench drop\n",
        ports.join(", ")
    )
}

/// The command that fills the set or map `name` of `rules`, by its `typeof`; none when it is not there or speaks of something
/// that this does not know.
fn elements(rules: &str, name: &str) -> Option<String> {
    let mut lines = rules.lines().map(str::trim);
    lines
        .find(|line| [format!("map {name} {{"), format!("set {name} {{")].iter().any(|head| line == head))?;
    let kind = lines.take_while(|line| *line != "}").find_map(|line| line.strip_prefix("typeof "))?;
    let side = |side: &str, number| {
        let parts: Option<Vec<_>> = side.split(" . ").map(|part| value(part.trim(), number)).collect();
        parts.map(|parts| parts.join(" . "))
    };
    let element = |number| {
        let sides: Option<Vec<_>> = kind.split(" : ").map(|text| side(text, number)).collect();
        sides.map(|sides| sides.join(" : "))
    };
    let all: Option<Vec<_>> = (0..MANY).map(element).collect();
    Some(format!("add element inet postern {name} {{ {} }}\n", all?.join(", ")))
}

/// The value number `number` of what `typeof` calls so.
fn value(of: &str, number: u32) -> Option<String> {
    match of {
        "ip saddr" | "ip daddr" => Some("203.0.113.20".to_owned()),
        "esp spi" => Some((0x1000 + number).to_string()),
        "ct zone" => Some("5".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn a_map_is_filled_by_its_typeof_and_an_unknown_one_is_not() {
        let rules = "table inet postern {\n\tmap esp_in {\n\t\ttypeof ip saddr . esp spi : ct zone\n\t}\n\tset odd {\n\t\ttypeof ether saddr\n\t}\n}";
        let filled = elements(rules, "esp_in").unwrap_or_default();
        assert!(
            filled.starts_with("add element inet postern esp_in { 203.0.113.20 . 4096 : 5, "),
            "{filled}"
        );
        assert_eq!(filled.matches(" : ").count(), 1_000);
        assert_eq!(elements(rules, "odd"), None);
        assert_eq!(elements(rules, "esp_sent"), None);
    }
}
