//! A router under a hail, with allowed traffic through it.

use lab::{Echo, Hail, Kind, Lab, Postern, Steady, Totals, address, address6};

/// Packets a second that nobody asked for.
pub const HZ: u32 = 4000;
/// What the home does meanwhile.
pub const ALLOWED: Kind = Kind::Udp(7000);

/// Nothing that nobody asked for gets in. In the factory state IPv6 IPsec does (RFC 6092), which the hail has in it: see
/// `control.rs`.
pub const STRICT: &str = "firewall.ipv6_ipsec=strict";

/// A router that is to let nothing in.
pub fn strict_router(lab: &Lab) -> Postern {
    let postern = lab.postern_router();
    postern.set(&[STRICT]);
    postern
}

/// The router, both witnesses, and the server of the allowed traffic.
pub struct Scene {
    pub lab: Lab,
    pub postern: Postern,
    pub hail: Hail,
    pub steady: Vec<Steady>,
    _server: Echo,
}

impl Scene {
    pub fn new() -> Self {
        let lab = Lab::new();
        let postern = strict_router(&lab);
        let server = lab.host("server1").echo(&[ALLOWED]);
        let laptop = lab.host("laptop1");
        let steady = vec![
            laptop.steady(ALLOWED, address("server1"), 500),
            laptop.steady(ALLOWED, address6("server1"), 500),
            laptop.ever_new(ALLOWED, address("server1"), 50),
        ];
        let hail = lab.hail(HZ, &lab.targets());
        Self { lab, postern, hail, steady, _server: server }
    }

    /// Nothing got in, and nothing was lost; the figures of both.
    #[track_caller]
    pub fn untouched(&self, what: &str) -> String {
        let totals: Vec<Totals> = self.steady.iter().map(Steady::settled).collect();
        let let_in = self.hail.let_in();
        let [udp, tcp, gre, esp] = self.hail.sent();
        let all = udp + tcp + gre + esp;
        let figures = format!(
            "{what}\n  probes: {all} in {} streams (UDP {udp}, TCP {tcp}, GRE {gre}, ESP {esp}); let in: {}\n  allowed: {} sent, \
             {} answered, {} still open, {} lost",
            self.hail.streams,
            let_in.values().sum::<u64>(),
            totals.iter().map(|t| t.sent).sum::<u64>(),
            totals.iter().map(|t| t.answered).sum::<u64>(),
            totals.iter().map(|t| t.open).sum::<u64>(),
            totals.iter().map(|t| t.lost + t.unsent).sum::<u64>(),
        );
        assert!(let_in.is_empty(), "let in: {let_in:?}\n{figures}");
        assert!(totals.iter().all(|t| t.lost + t.unsent == 0), "lost: {totals:?}\n{figures}");
        figures
    }
}
