//! ESP of servers, in the zone it was given: whose SPI it is, and how certain that is.

use crate::ruleset::learnt::at_once;
use crate::ruleset::table::{Chain, Counter, Table};

pub(super) fn rules(table: &mut Table) {
    let mut rule = |chain, rule: &str, why| table.rule(chain, rule, why);
    let back = Chain::EspBack;
    rule(back, "ip saddr . esp spi @esp_sure goto esp_back_sure", "an SPI that is confirmed");
    rule(back, "ip saddr . esp spi @esp_tried goto esp_back_again", "an SPI on probation");
    let limit = "update @esp_in_rate { ip saddr limit rate over 20/second burst 200 packets }";
    rule(back, &format!("{limit} return"), "too many new SPIs of one server: delivered, not learnt");
    rule(back, "ip saddr . ct zone @esp_holds goto esp_match", "a new SPI in this client's turn");

    let sure = Chain::EspBackSure;
    rule(sure, "update @esp_sure { ip saddr . esp spi }", "keep");
    rule(sure, "update @esp_in { ip saddr . esp spi timeout 1h : ct zone }", "keep");
    rule(sure, "update @esp_live { ip saddr . ct zone }", "traffic now");
    let owed = "ip saddr . ct zone @esp_debt update @esp_heard { ip saddr . ct zone timeout 3s } return";
    rule(sure, owed, "answered, but on the old SPI");
    rule(sure, "update @esp_heard { ip saddr . ct zone timeout 1h }", "answered");

    let again = Chain::EspBackAgain;
    rule(again, "ip saddr @esp_mixed return", "this server has used another unknown SPI meanwhile");
    rule(again, "ip saddr . ct zone @esp_early return", "too early to tell");
    rule(again, "ip saddr . ct zone != @esp_spoke return", "the client has not spoken since");
    rule(again, "update @esp_in { ip saddr . esp spi timeout 1h : ct zone }", "confirmed");
    rule(again, "update @esp_sure { ip saddr . esp spi }", "confirmed");
    rule(again, "update @esp_heard { ip saddr . ct zone timeout 1h }", "answered");
    rule(again, "delete @esp_debt { ip saddr . ct zone }", "paid");
    rule(again, "delete @esp_trying { ip saddr . ct zone }", "not on probation any more");
    rule(again, "ip saddr . ct zone != @esp_holds return", "has no turn");
    // Busy last: until then nobody takes the turn on another processor.
    rule(again, "delete @esp_holds { ip saddr . ct zone }", "needs no turn any more");
    rule(again, "delete @esp_turn { ip saddr : ct zone }", "needs no turn any more");
    rule(again, "delete @esp_busy { ip saddr }", "needs no turn any more");

    let matched = Chain::EspMatch;
    let surplus = format!(
        "ip saddr . ct zone @esp_trying add @esp_mixed {{ ip saddr }} {} drop",
        Counter::IpsecUnplaced
    );
    rule(matched, &surplus, "a second one while the first is on probation: one is somebody else's");
    let two = format!(
        "{} add @esp_mixed {{ ip saddr }} {} drop",
        at_once("esp_matched", "ip saddr"),
        Counter::IpsecUnplaced
    );
    rule(matched, &two, "two at the same instant: one is somebody else's");
    rule(matched, "delete @esp_holds { ip saddr . ct zone }", "the turn ends");
    rule(matched, "delete @esp_turn { ip saddr : ct zone }", "the turn ends");
    rule(
        matched,
        "update @esp_busy { ip saddr timeout 200ms }",
        "the next one 0.2 s later: a second SPI is noticed",
    );
    rule(matched, "delete @esp_tired { ip saddr . ct zone }", "its turn was worth it");
    rule(matched, "add @esp_heard { ip saddr . ct zone }", "answered, for 5 s");
    let add = format!("add @esp_in {{ ip saddr . esp spi : ct zone }} {}", Counter::IpsecProbation);
    rule(matched, &add, "on probation, for 5 s");
    rule(matched, "add @esp_tried { ip saddr . esp spi }", "on probation, for 5 s");
    rule(matched, "delete @esp_spoke { ip saddr . ct zone }", "what it said before does not count");
    rule(matched, "update @esp_trying { ip saddr . ct zone }", "on probation, for 5 s");
    rule(matched, "update @esp_trial { ip saddr }", "on probation, for 5 s");
    let credit = "ip saddr . ct zone != @esp_debt add @esp_credit { ip saddr . ct zone }";
    rule(matched, credit, "the client has not used its new SPI yet");
}
