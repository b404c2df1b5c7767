//! ESP of the home: which SPIs a client has used, and whose turn it is.

use super::SPI_OUT;
use crate::ruleset::learnt::at_once;
use crate::ruleset::table::{Chain, Counter, Table};

pub(super) fn rules(table: &mut Table) {
    packets(table);
    turns(table);
    speaking(table);
    known_clients(table);
}

fn packets(table: &mut Table) {
    let waiting = format!("{} drop", Counter::IpsecWaiting);
    let limited = format!("{} drop", Counter::IpsecLimited);
    let mut rule = |chain, rule: &str, why| table.rule(chain, rule, why);
    let out = Chain::EspOut;
    rule(
        out,
        "ip daddr . ct zone . esp spi @esp_sent goto esp_out_again",
        "an SPI this client has used before",
    );
    let limit = "update @esp_rate { ether saddr limit rate over 2/second burst 100 packets }";
    rule(out, &format!("{limit} {limited}"), "too many new SPIs of one device");
    rule(out, &format!("ether saddr != @esp_rate {limited}"), "the limit is full of devices");
    rule(out, "ip daddr . ct zone @esp_credit goto esp_paid", "the server was first to use its new SPI");
    let one = "ip daddr @ipsec_several ip daddr . ct zone @esp_trying";
    rule(out, &format!("{one} {waiting}"), "one new SPI of a client at a time");
    rule(out, "ip daddr . ct zone @esp_holds goto esp_new", "it is this client's turn");
    rule(out, &format!("ip daddr @esp_busy {waiting}"), "another client has this server's turn");
    let mixed = "ip daddr @esp_mixed ip daddr @ipsec_several";
    rule(out, &format!("{mixed} {waiting}"), "until all probation has lapsed");
    rule(out, "jump esp_new", "a new SPI");
    rule(out, "goto esp_take", "a new SPI takes the turn");

    let again = Chain::EspOutAgain;
    rule(again, "update @esp_sent { ip daddr . ct zone . esp spi }", "keep");
    rule(again, &format!("update @esp_out {{ {SPI_OUT} : ct zone }}"), "keep");
    rule(again, "ip daddr . ct zone @esp_heard goto esp_speak", "this client is answered");
    rule(again, "ip daddr . ct zone @esp_holds goto esp_speak", "it is this client's turn");
    rule(again, &format!("ip daddr @esp_busy {waiting}"), "another client has this server's turn");
    rule(again, &format!("{mixed} {waiting}"), "until all probation has lapsed");
    rule(again, "goto esp_take", "not answered: takes the turn");

    let new = Chain::EspNew;
    rule(new, "add @esp_sent { ip daddr . ct zone . esp spi }", "this SPI is known from now on");
    rule(new, &format!("update @esp_out {{ {SPI_OUT} : ct zone }}"), "for ICMP errors about it");
    rule(new, "delete @zone_host { ct zone : ip saddr }", "update does not replace a value");
    rule(new, "add @zone_host { ct zone : ip saddr }", "who the zone is");
    rule(new, "update @esp_debt { ip daddr . ct zone }", "the server owes a new SPI");
    let shorten = "ip daddr . ct zone @esp_heard update @esp_heard { ip daddr . ct zone timeout 3s }";
    rule(new, shorten, "whether it is answered will not be known for long");
    rule(
        new,
        "delete @esp_trying { ip daddr . ct zone }",
        "a newer SPI: what is on probation is not confirmed by it",
    );
    rule(
        new,
        "delete @esp_spoke { ip daddr . ct zone }",
        "a newer SPI: what is on probation is not confirmed by it",
    );
    rule(new, "jump ipsec_client", "a client of this server");
}

fn turns(table: &mut Table) {
    let mut take = |rule: &str, why| table.rule(Chain::EspTake, rule, why);
    take("ip daddr @esp_mixed return", "no turn until all probation has lapsed");
    // An answer to what passes without a turn would fall into the turn of another.
    let tired =
        format!("ip daddr . ct zone @esp_tired ip daddr @ipsec_several {} drop", Counter::IpsecWaiting);
    take(&tired, "it had its turn: others first");
    take("ip daddr . ct zone @esp_tired return", "it had its turn, and there is nobody else");
    let limit = "update @esp_turns { ether saddr . ip daddr limit rate over 10/minute burst 5 packets }";
    take(&format!("{limit} {} drop", Counter::IpsecLimited), "too many turns of one device with this server");
    // After that limit: who is over it must not keep others from the turn. Its SPI is as new again as it was, and waits as that.
    let another = format!(
        "{} delete @esp_sent {{ ip daddr . ct zone . esp spi }} {} drop",
        at_once("esp_instant", "ip daddr"),
        Counter::IpsecWaiting
    );
    take(&another, "another client has taken it at the same instant");
    take("add @esp_tired { ip daddr . ct zone }", "the next turn is another's");
    take("add @esp_busy { ip daddr }", "its turn, for 2 s");
    take("add @esp_holds { ip daddr . ct zone }", "its turn, for 2 s");
    take("delete @esp_turn { ip daddr : ct zone }", "update does not replace a value");
    take("add @esp_turn { ip daddr : ct zone }", "its turn, for 2 s");
}

/// What counts as speaking while an SPI is on probation: with a new SPI of its own, and at least 1 s before the server's
/// comes again. Sooner, the server might still be answering somebody else.
fn speaking(table: &mut Table) {
    let mut rule = |chain, rule: &str, why| table.rule(chain, rule, why);
    let speak = Chain::EspSpeak;
    let counts = "ip daddr . ct zone @esp_trying ip daddr . ct zone @esp_debt";
    let first = "ip daddr . ct zone != @esp_spoke add @esp_early { ip daddr . ct zone }";
    rule(speak, &format!("{counts} {first}"), "too early to confirm");
    rule(speak, &format!("{counts} update @esp_spoke {{ ip daddr . ct zone }}"), "it spoke");

    let waiting = format!("{} drop", Counter::IpsecWaiting);
    let paid = Chain::EspPaid;
    let another = "ip daddr . ct zone != @esp_holds ip daddr @esp_busy";
    rule(paid, &format!("{another} {waiting}"), "another client has this server's turn");
    let mixed = "ip daddr @esp_mixed ip daddr @ipsec_several";
    rule(paid, &format!("{mixed} {waiting}"), "until all probation has lapsed");
    let taken = format!("{} {waiting}", at_once("esp_instant", "ip daddr"));
    rule(paid, &taken, "another client has taken the turn at the same instant");
    rule(paid, "add @esp_busy { ip daddr timeout 200ms }", "an answer to this must not fall into a turn");
    rule(paid, "delete @esp_credit { ip daddr . ct zone }", "both new SPIs have been seen");
    rule(paid, "add @esp_sent { ip daddr . ct zone . esp spi }", "this SPI is known from now on");
    rule(paid, &format!("update @esp_out {{ {SPI_OUT} : ct zone }}"), "for ICMP errors about it");
    rule(paid, "update @esp_debt { ip daddr . ct zone }", "not confirmed yet");
    rule(paid, "update @esp_spoke { ip daddr . ct zone }", "it spoke");
    rule(paid, "add @esp_early { ip daddr . ct zone }", "too early to confirm");
    rule(paid, "delete @esp_heard { ip daddr . ct zone }", "add does not shorten it");
    rule(paid, "add @esp_heard { ip daddr . ct zone }", "answered, for 5 s");
}

/// Which clients a server has: with only one, nothing has to be guessed.
fn known_clients(table: &mut Table) {
    let mut client = |rule: &str, why| table.rule(Chain::IpsecClient, rule, why);
    let second = "ip daddr . ct zone != @ipsec_pair ip daddr @ipsec_any add @ipsec_several { ip daddr }";
    client(second, "a second client");
    let both = format!(
        "ip daddr . ct zone != @ipsec_pair {} add @ipsec_several {{ ip daddr }}",
        at_once("ipsec_instant", "ip daddr")
    );
    client(&both, "two new clients at the same instant");
    client("ip daddr @ipsec_several update @ipsec_several { ip daddr }", "keep");
    client("update @ipsec_pair { ip daddr . ct zone }", "keep");
    client("update @ipsec_any { ip daddr }", "keep");
    client("delete @ipsec_only { ip daddr : ct zone }", "update does not replace a value");
    client("add @ipsec_only { ip daddr : ct zone }", "the last client");
}
