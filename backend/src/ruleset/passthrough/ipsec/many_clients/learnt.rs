//! The sets and maps of `many_clients`. *Client* is its zone.

use crate::ruleset::learnt::Learnt;

const fn set(name: &'static str, of: &'static str, timeout: &'static str, why: &'static str) -> Learnt {
    Learnt::set(name, of, timeout, why)
}

const fn map(name: &'static str, of: &'static str, timeout: &'static str, why: &'static str) -> Learnt {
    Learnt::map(name, of, timeout, why)
}

const COOKIE: &str = "@nh,128,32 . @th,64,64 : ct zone";
const SPI: &str = "@nh,128,32 . @th,0,32 : ct zone";
const SERVER: &str = "ip daddr";
const SERVER_CLIENT: &str = "ip daddr . ct zone";
const SERVER_SPI: &str = "ip saddr . esp spi";

/// Everything that is learnt. An hour is the usual life of an SA; a cookie lives as long as an IKE SA that is idle.
pub(super) const LEARNT: &[Learnt] = &[
    map("zone_host", "ct zone : ip saddr", "1d", "client: its LAN address"),
    set("ipsec_own", SERVER, "1h", "servers this box itself has IPsec with: their SPIs are not guessed"),
    map("ipsec_only", "ip daddr : ct zone", "4h", "server: its last client"),
    set("ipsec_pair", SERVER_CLIENT, "4h", "server and client that know each other"),
    set("ipsec_any", SERVER, "4h", "servers with a client"),
    set("ipsec_several", SERVER, "4h", "servers with several clients"),
    set("ipsec_instant", SERVER, "1s", "servers with a new client just now, limited"),
    map("ike_in", COOKIE, "4h", "server and initiator cookie: whose"),
    set("ike_sent", "ip daddr . ct zone . @th,64,64", "4h", "initiator cookies a client has sent"),
    set("ike_rate", "ether saddr", "2m", "new cookies of a device, limited"),
    set("ike_tired", SERVER_CLIENT, "4s", "rekeyings that had their turn"),
    map("esp_in", "ip saddr . esp spi : ct zone", "5s", "SPI of a server: whose"),
    set("esp_sure", SERVER_SPI, "1h", "SPIs of servers that are confirmed"),
    set("esp_tried", SERVER_SPI, "5s", "SPIs of servers on probation"),
    set("esp_in_rate", "ip saddr", "2m", "new SPIs of a server, limited"),
    set("esp_sent", "ip daddr . ct zone . esp spi", "1h", "SPIs a client has used"),
    map("esp_out", SPI, "1h", "SPI a client has used: whose, for ICMP errors"),
    set("esp_rate", "ether saddr", "2m", "new SPIs of a device, limited"),
    set("esp_heard", SERVER_CLIENT, "5s", "clients that are answered: they need no turn"),
    set("esp_live", SERVER_CLIENT, "15s", "clients with traffic now: their rekeying takes a turn"),
    map("esp_turn", "ip daddr : ct zone", "2s", "server: whose turn it is"),
    set("esp_holds", SERVER_CLIENT, "2s", "clients whose turn it is"),
    set("esp_busy", SERVER, "2s", "servers with a turn, and just after it"),
    set("esp_tired", SERVER_CLIENT, "6s", "clients that had a turn"),
    set("esp_turns", "ether saddr . ip daddr", "2m", "turns of a device with a server, limited"),
    set("esp_instant", SERVER, "1s", "servers with a new turn just now, limited"),
    set("esp_matched", SERVER, "1s", "servers with an SPI that was matched just now, limited"),
    set(
        "esp_debt",
        SERVER_CLIENT,
        "5m",
        "clients with a new SPI of their own, and none confirmed of the server",
    ),
    set("esp_credit", SERVER_CLIENT, "10s", "clients that got a new SPI first, and have used none yet"),
    set("esp_trial", SERVER, "5s", "servers with an SPI on probation"),
    set("esp_trying", SERVER_CLIENT, "5s", "clients with an SPI on probation"),
    set("esp_spoke", SERVER_CLIENT, "5s", "clients that spoke while they had it"),
    set("esp_early", SERVER_CLIENT, "1s", "for whom it is too early to be confirmed"),
    set("esp_mixed", SERVER, "5s", "servers that used another unknown SPI meanwhile: all probation lapses"),
];
