//! IKE of the home: whose cookie it is, and turns for those who rekey.

use super::COOKIE_OUT;
use crate::ruleset::learnt::at_once;
use crate::ruleset::table::{Chain, Counter, Table};

/// Exchanges that make an SA for ESP: quick mode (RFC 2409 section 5.5), IKE_AUTH and CREATE_CHILD_SA (RFC 7296
/// section 3.1). The type is byte 18 of the IKE header.
const CHILD: &str = "@th,208,8 { 32, 35, 36 }";

/// IKE of the home. Answers need no rule: their cookie was learnt when the client first sent it.
pub(super) fn rules(table: &mut Table) {
    let waiting = format!("{} drop", Counter::IpsecWaiting);
    let limited = format!("{} drop", Counter::IpsecLimited);
    let mut rule = |chain, rule: &str, why| table.rule(chain, rule, why);
    let out = Chain::IkeOut;
    rule(out, "ip daddr . ct zone . @th,64,64 != @ike_sent jump ike_new", "a new cookie");
    rule(out, "update @ike_sent { ip daddr . ct zone . @th,64,64 }", "keep");
    rule(out, &format!("update @ike_in {{ {COOKIE_OUT} : ct zone }}"), "keep");
    rule(out, &format!("{CHILD} goto ike_child"), "an exchange that makes an SA for ESP");

    let new = Chain::IkeNew;
    rule(
        new,
        &format!("update @ike_rate {{ ether saddr limit rate over 1/second burst 60 packets }} {limited}"),
        "too many new cookies of one device",
    );
    rule(new, &format!("ether saddr != @ike_rate {limited}"), "the limit is full of devices");
    rule(new, "delete @zone_host { ct zone : ip saddr }", "update does not replace a value");
    rule(new, "add @zone_host { ct zone : ip saddr }", "who the zone is");
    rule(new, "goto ipsec_client", "a client of this server");

    let child = Chain::IkeChild;
    rule(child, "ip daddr . ct zone @esp_holds return", "it is this client's turn");
    rule(child, "ip daddr . ct zone != @esp_live return", "a first tunnel: the client will speak first");
    rule(
        child,
        &format!("ip daddr @esp_busy {waiting}"),
        "another client has the turn: both sides send again",
    );
    rule(child, &format!("ip daddr @esp_mixed {waiting}"), "until all probation has lapsed");
    rule(child, "ip daddr . ct zone @ike_tired return", "it had its turn");
    let limit = "update @esp_turns { ether saddr . ip daddr limit rate over 10/minute burst 5 packets }";
    rule(child, &format!("{limit} {limited}"), "too many turns of one device with this server");
    let another = format!("{} {waiting}", at_once("esp_instant", "ip daddr"));
    rule(child, &another, "another client has taken the turn at the same instant");
    rule(child, "add @ike_tired { ip daddr . ct zone }", "the next turn is another's");
    rule(child, "add @esp_busy { ip daddr timeout 1s }", "its turn, for 1 s");
    rule(child, "add @esp_holds { ip daddr . ct zone timeout 1s }", "its turn, for 1 s");
    rule(child, "delete @esp_turn { ip daddr : ct zone }", "update does not replace a value");
    rule(child, "add @esp_turn { ip daddr timeout 1s : ct zone }", "its turn, for 1 s");
}
