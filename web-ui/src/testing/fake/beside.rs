//! A box on which OpenWrt's firewall stands.

use postern::door::messages::{
    Beside, Defeat, Defeated, Difference, Dropper, FromPart, FromUci, Other, Part, Proposal, Uci,
};

/// What stands there; one name is markup, and must stay text.
pub fn openwrt() -> Beside {
    Beside {
        firewalls: vec![Other {
            name: "OpenWrt\u{2019}s firewall (fw4)".into(),
            tables: vec!["inet fw4".into()],
        }],
        proposal: Some(Proposal {
            from: "OpenWrt's configuration (UCI)".into(),
            internet: "eth1".into(),
            internet_from: "network: interface \u{201c}<i>wan\u{201d}; firewall: zone \u{201c}wan\u{201d}"
                .into(),
            local: "br-lan".into(),
            local_from: "network: interface \u{201c}lan\u{201d}; firewall: zone \u{201c}lan\u{201d}".into(),
            address: Some("192.168.7.1/24".into()),
            others: vec!["eth2 leads to the internet too; one device is looked after.".into()],
        }),
        uci: Uci::There { folder: "/etc/config".into() },
    }
}

/// What its configuration says.
pub fn from_uci() -> FromUci {
    let differs = |key: &str, before: &str, after: &str| Difference {
        key: key.into(),
        before: before.into(),
        after: after.into(),
    };
    let part = |part, differs, left_out: &[&str]| FromPart {
        part,
        differs,
        left_out: left_out.iter().map(|one| (*one).to_owned()).collect(),
        more: (0, 0),
    };
    FromUci {
        folder: "/etc/config".into(),
        digest: "d1".into(),
        revision: 0,
        parts: vec![
            part(
                Part::Sides,
                vec![differs("internet.device", "unset", "eth1")],
                &[
                    "Firewall rules (9): beside OpenWrt they stay in force there; a router has Postern\u{2019}s own.",
                ],
            ),
            part(
                Part::Devices,
                vec![differs("devices.02:00:00:00:00:20", "unset", "<script>, 192.168.7.20")],
                &[],
            ),
            part(
                Part::Forwards,
                vec![differs("forwards.web", "tcp 80 to 192.168.7.9", "tcp 80 to 192.168.7.20")],
                &[
                    "Port forward \u{201c}<b>x</b>\u{201d}: \u{201c}src_ip\u{201d} cannot be said here; it would be open to more.",
                ],
            ),
            part(Part::Helpers, Vec::new(), &[]),
        ],
    }
}

/// L2TP of a device that its rules keep from this server.
pub fn defeated(server: u8, how: Defeat, last_seconds: u64) -> Defeated {
    Defeated {
        name: "l2tp".into(),
        title: "L2TP".into(),
        device: [192, 168, 1, 23].into(),
        server: [203, 0, 113, server].into(),
        how,
        last_seconds,
        dropper: Some(Dropper::Policy { table: "inet <fw4>".into(), chain: "forward".into() }),
        sentence: format!(
            "L2TP from 192.168.1.23 to 203.0.113.{server} is dropped by the policy of chain forward in table inet <fw4>."
        ),
        remedy: "Add before it: nft insert rule inet fw4 forward 'iifname \"eth1\" oifname \"br-lan\" meta l4proto udp ct status dnat \
                 accept'. To keep it, write it into the file that the table comes from."
            .into(),
        commands: Vec::new(),
    }
}
