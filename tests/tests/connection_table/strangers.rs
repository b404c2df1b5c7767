//! What the internet sends unasked leaves no entry.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::{Kind, Lab, Postern, Random, address, address6, figures, wait};
use serde_json::Value;

/// Packets, or as many as `POSTERN_NOISE` says.
const COUNT: u64 = 100_000;

/// The entries there are, by what does not change of them: protocol, addresses, ports. What this box itself began is its own affair.
#[track_caller]
fn entries(lab: &Lab) -> BTreeSet<String> {
    let own =
        [address("router").to_string(), address6("router").to_string(), "127.0.0.1".into(), "::1".into()];
    let mut all = BTreeSet::new();
    for family in ["ipv4", "ipv6"] {
        let listed = lab.router().ok(&["conntrack", "-L", "-f", family]);
        for line in listed.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ends = words
                .iter()
                .skip(2)
                .filter(|word| ["src=", "dst=", "sport=", "dport="].iter().any(|of| word.starts_with(of)));
            let ends: Vec<&str> = ends.copied().take(4).collect();
            let ours = ends
                .first()
                .and_then(|word| word.strip_prefix("src="))
                .is_some_and(|from| own.iter().any(|one| one == from));
            if !ours {
                all.insert(format!("{} {}", words.first().copied().unwrap_or_default(), ends.join(" ")));
            }
        }
    }
    all
}

/// Packets that our rules have dropped.
#[track_caller]
fn dropped(lab: &Lab) -> u64 {
    let text = lab.router().ok(&["nft", "-j", "list", "counters", "table", "inet", "postern"]);
    let json: Value = serde_json::from_str(&text).expect("nft -j prints JSON");
    let parts = json["nftables"].as_array().cloned().unwrap_or_default();
    let ours = |counter: &&Value| {
        counter["name"].as_str().is_some_and(|name| {
            ["input_dropped", "forward_dropped", "invalid_dropped", "ipsec_unplaced", "pptp_refused"]
                .contains(&name)
        })
    };
    parts
        .iter()
        .map(|part| &part["counter"])
        .filter(ours)
        .filter_map(|counter| counter["packets"].as_u64())
        .sum()
}

fn router(lab: &Lab) -> Postern {
    let postern = lab.postern_router();
    // What RFC 6092 lets begin has a limit of its own: tests/ipv6_ipsec.rs.
    postern.set(&["firewall.ipv6_ipsec=strict"]);
    lab.hostile_provider();
    postern
}

#[test]
fn packets_of_chance_from_the_internet_leave_no_entry() {
    let count = std::env::var("POSTERN_NOISE").ok().and_then(|text| text.parse().ok()).unwrap_or(COUNT);
    let lab = Lab::new();
    let postern = router(&lab);
    let enemy = lab.host("attacker");
    // The probe sees an entry that the internet makes: by a forward.
    let _echo = lab.host("laptop1").echo(&[Kind::Udp(20_000)]);
    postern.ok(&["forward", "add", "probe", "--protocol", "udp", "--port", "20000", "--to", "192.168.1.101"]);
    let before = entries(&lab);
    assert_eq!(enemy.probe(Kind::Udp(20_000), address("router")).answered, 1);
    let allowed: Vec<String> = entries(&lab).difference(&before).cloned().collect();
    assert_eq!(allowed.len(), 1, "{allowed:?}");
    postern.ok(&["forward", "remove", "probe"]);
    assert!(entries(&lab).is_disjoint(&allowed.into_iter().collect()), "its entry is gone");

    let (before, dropped_before, (full_before, _)) = (entries(&lab), dropped(&lab), lab.conntrack());
    let seed = Random::new().below(u64::MAX);
    let targets: Vec<String> = lab.targets().iter().map(ToString::to_string).collect();
    let (count_word, seed_word, own) =
        (count.to_string(), seed.to_string(), address6("attacker").to_string());
    let mut words = vec!["postern-lab", "noise", &count_word, &seed_word, &own];
    words.extend(targets.iter().map(String::as_str));
    let mut noise = enemy.spawn(&words);
    let mut most = 0;
    let ended = wait::until(Duration::from_secs(60 + count / 5000), || {
        most = most.max(lab.conntrack().0);
        noise.ended()
    });
    assert!(ended.is_some_and(|status| status.success()), "POSTERN_SEED={seed}: {}", noise.said());
    let told: Value = noise.out().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let sent = told["sent"].as_u64().unwrap_or_default();
    assert!(sent > count / 10 * 9, "{told}");
    let new: Vec<String> = entries(&lab).difference(&before).cloned().collect();
    assert_eq!(new, [""; 0], "POSTERN_SEED={seed}");
    let dropped = dropped(&lab) - dropped_before;
    assert!(dropped > sent / 3, "only {dropped} of {sent} came to our rules");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "strangers",
        &format!(
            "{sent} packets of chance from the internet, every protocol, both families, {dropped} of them dropped by our rules (the others by the kernel \
             before): 0 entries; {full_before} in the table before, {most} at most meanwhile"
        ),
    );
}
