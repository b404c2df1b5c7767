//! Other firewalls on the lab's router, and Postern beside them.

use lab::{Lab, Postern, Process, wait};

/// Whose rules stand on the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// Rules of the shape that OpenWrt's fw4 prints (`fw4.nft`).
    Fw4,
    /// Debian's firewalld itself, with a message bus of its own.
    Firewalld,
    /// Rules of the kernel's old iptables, as many a script still makes them.
    Legacy,
    /// The rules that ufw and other programs make by Debian's iptables, which are nftables' in the kernel.
    Iptables,
    /// A file that somebody has written, and that begins with `flush ruleset`.
    Hand,
}

const FW4: &str = include_str!("fw4.nft");

const HAND: &str = "flush ruleset
table inet mine {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname \"lan0\" oifname \"wan0\" accept
        counter comment \"what is left\"
    }
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        oifname \"wan0\" masquerade
    }
}";

/// What `iptables-restore` is given, each table in one piece.
const IPTABLES: &str = "*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
";

const FIREWALLD: &str = "mkdir -p /run/dbus /run/lock
mount -t tmpfs tmpfs /etc/firewalld
mkdir -p /etc/firewalld/zones /etc/firewalld/policies
printf 'DefaultZone=public\nFirewallBackend=nftables\nIPv6_rpfilter=no\n' > /etc/firewalld/firewalld.conf
head='<?xml version=\"1.0\" encoding=\"utf-8\"?>'
echo \"$head<zone target=\\\"ACCEPT\\\"><interface name=\\\"lan0\\\"/></zone>\" > /etc/firewalld/zones/internal.xml
echo \"$head<zone><interface name=\\\"wan0\\\"/><masquerade/></zone>\" > /etc/firewalld/zones/external.xml
echo \"$head<policy target=\\\"ACCEPT\\\"><ingress-zone name=\\\"internal\\\"/><egress-zone name=\\\"external\\\"/></policy>\" \
    > /etc/firewalld/policies/out.xml";

/// A router whose firewall is somebody else's, and Postern beside it.
pub struct Beside {
    pub firewall: Firewall,
    pub postern: Postern,
    pub lab: Lab,
    _running: Vec<Process>,
}

impl Beside {
    pub fn new(firewall: Firewall) -> Self {
        Self::with(firewall, &[])
    }

    pub fn with(firewall: Firewall, environment: &[(&str, &str)]) -> Self {
        let lab = Lab::new();
        let running = stand(&lab, firewall);
        let postern = lab.postern_with(environment);
        postern.claim();
        postern.set(&["role=companion", "internet.device=wan0", "local_network.devices=lan0"]);
        postern.ok(&["confirm"]);
        Self::of(firewall, lab, postern, running)
    }

    /// What stands already; `running` must go on for it.
    pub fn of(firewall: Firewall, lab: Lab, postern: Postern, running: Vec<Process>) -> Self {
        Self { firewall, postern, lab, _running: running }
    }

    /// Their rules, all of them, without what counts.
    pub fn theirs(&self) -> String {
        theirs(&self.lab)
    }

    /// They load their rules anew, as they do when somebody changes them.
    pub fn reload(&self) {
        load(&self.lab, self.firewall);
    }

    pub fn nft(&self, command: &str) {
        self.lab.router().ok_with(&["nft", "-f", "-"], command);
    }
}

/// Addresses and forwarding as the box's own programs give them, and the firewall; what must go on running for it.
pub fn stand(lab: &Lab, firewall: Firewall) -> Vec<Process> {
    let router = lab.router();
    for words in [
        "ip addr replace 198.51.100.2/24 dev wan0",
        "ip addr replace 192.168.1.1/24 dev lan0",
        "ip route replace default via 198.51.100.1",
        "sysctl -qw net.ipv4.ip_forward=1",
    ] {
        router.ok(&words.split(' ').collect::<Vec<_>>());
    }
    if firewall != Firewall::Firewalld {
        load(lab, firewall);
        return Vec::new();
    }
    router.ok(&["sh", "-euc", FIREWALLD]);
    let bus = router.spawn(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
    let open = wait::until(wait::SOON, || router.path("/run/dbus/system_bus_socket").exists().then_some(()));
    assert!(open.is_some(), "the message bus does not start:\n{}", bus.said());
    let daemon = router.spawn(&["firewalld", "--nofork", "--nopid"]);
    let running = wait::until(wait::SOON * 3, || router.run(&["firewall-cmd", "--state"]).ok().then_some(()));
    assert!(running.is_some(), "firewalld does not start:\n{}", daemon.said());
    vec![bus, daemon]
}

fn load(lab: &Lab, firewall: Firewall) {
    let router = lab.router();
    let iptables = |program: &str| drop(router.ok_with(&[program], IPTABLES));
    match firewall {
        Firewall::Fw4 => drop(router.ok_with(&["nft", "-f", "-"], FW4)),
        Firewall::Hand => drop(router.ok_with(&["nft", "-f", "-"], HAND)),
        Firewall::Legacy => iptables("iptables-legacy-restore"),
        Firewall::Iptables => iptables("iptables-nft-restore"),
        Firewall::Firewalld => drop(router.ok(&["firewall-cmd", "--reload"])),
    }
}

pub fn theirs(lab: &Lab) -> String {
    let router = lab.router();
    let tables = router.ok(&["nft", "list", "tables"]);
    let mut all = String::new();
    for table in tables.lines().filter(|line| *line != "table inet postern") {
        let words: Vec<&str> = ["nft", "-s", "list"].into_iter().chain(table.split_whitespace()).collect();
        all += &router.ok(&words);
    }
    // Empty without the kernel's old iptables. A policy is followed by what it has counted.
    let legacy = router.ok(&["iptables-legacy-save"]);
    for line in legacy.lines().filter(|line| !line.starts_with('#')) {
        all += line.split(" [").next().unwrap_or_default();
        all.push('\n');
    }
    all
}
