//! A thousand port forwards: the CPU of an apply beside `nft -f` of one map of a thousand, and what connections cost.

use lab::{Lab, Postern, ROUTER_SETTINGS};

use super::contestants::{self, MANY};
use super::number;
use super::packets;
use super::swap::Used;

/// Applies in a row, and how often: turn and turn about with the yardstick.
const BATCH: u32 = 10;
const BATCHES: u32 = 4;

/// Prints the figures.
pub(super) fn forwards(lab: &Lab) -> Result<(), lexopt::Error> {
    let postern = lab.postern();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    apply(lab, &postern)?;
    packets::packets(&contestants::forwarding(&postern), true)?;
    Ok(())
}

/// A map of a thousand ports and the rule that uses it, in a table of its own: nothing can be loaded that does less.
fn one_map() -> String {
    let elements: Vec<_> = (0..MANY).map(|n| format!("{} : 192.168.1.{}", 20_000 + n, 2 + n % 250)).collect();
    format!(
        "table inet yardstick {{\n\tmap ports {{\n\t\ttype inet_service : ipv4_addr\n\t}}\n\tchain dstnat {{\n\t\t\
         type nat hook prerouting priority dstnat; policy accept;\n\t}}\n}}\n\
         flush table inet yardstick\nflush map inet yardstick ports\n\
         add element inet yardstick ports {{ {} }}\n\
         add rule inet yardstick dstnat iifname \"wan0\" meta nfproto ipv4 dnat ip to udp dport map @ports\n",
        elements.join(", ")
    )
}

fn apply(lab: &Lab, postern: &Postern) -> Result<(), lexopt::Error> {
    let router = lab.router();
    router.write("/run/lab/map.nft", one_map());
    let daemon = number(&postern.daemon_status("Pid"))?;
    let load = |file: &str| format!("for i in $(seq {BATCH}); do nft -f {file} || exit 1; done");
    let [mut one, mut thousand, mut text, mut map] = [(); 4].map(|()| Used::default());
    let rules = contestants::with(postern, &contestants::forwards(MANY, 1));
    router.write("/run/lab/same.nft", rules.replace("inet postern", "inet same"));
    for _ in 0..BATCHES {
        contestants::with(postern, &contestants::forwards(1, 1));
        one.measure(daemon, || changes(postern));
        contestants::with(postern, &contestants::forwards(MANY, 1));
        thousand.measure(daemon, || changes(postern));
        text.measure(std::process::id(), || drop(router.ok(&["sh", "-c", &load("/run/lab/same.nft")])));
        map.measure(std::process::id(), || drop(router.ok(&["sh", "-c", &load("/run/lab/map.nft")])));
    }
    for table in ["same", "yardstick"] {
        router.ok(&["nft", "delete", "table", "inet", table]);
    }
    let ms = |used: &Used| used.cpu().as_secs_f64() * 1e3 / f64::from(BATCH * BATCHES);
    println!(
        "CPU of an apply, of the daemon with its nft children (a change that is tried, saved, applied, read back):"
    );
    println!("  with 1 forward {:.1} ms, with 1,000 forwards {:.1} ms", ms(&one), ms(&thousand));
    println!("  nft -f of the same rules with 1,000 forwards: {:.1} ms", ms(&text));
    println!("  nft -f of one map of 1,000: {:.1} ms", ms(&map));
    println!(
        "  1,000 forwards / one map of 1,000: {:.2}; / nft -f of the same rules: {:.2}; / 1 forward: {:.2}",
        ms(&thousand) / ms(&map),
        ms(&thousand) / ms(&text),
        ms(&thousand) / ms(&one)
    );
    Ok(())
}

/// Changes that load all rules anew and end nothing.
fn changes(postern: &Postern) {
    for round in 0..BATCH {
        postern.set(&[&format!("firewall.ping={}", round % 2 == 0)]);
    }
}
