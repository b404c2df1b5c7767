//! Stored = applied = shown: whatever the owner does and in whatever order, with a kernel that fails now and then and a daemon
//! that is started anew. Thousands of random changes on a kernel of paper.

use super::*;
use crate::appliance::timed;
use crate::settings::access::{Access, IN_PLACE};
use crate::settings::chance::{Around, change, numbers};
use crate::settings::names::Time;

/// How many: `POSTERN_CHANGES`, or so many.
fn count() -> u64 {
    std::env::var("POSTERN_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

pub(super) const FOR_EVER: Duration = Duration::from_hours(24);

fn seed() -> u64 {
    let asked = std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| u64::from(std::process::id()))
}

/// Where the three differ.
pub(super) async fn differs(home: &Home) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, same: bool| {
        if !same {
            wrong.push(what.to_owned());
        }
    };
    let (revision, settings) = home.appliance.settings();
    let status = home.appliance.status().await;
    let stored = match &status.trial {
        Some(_) => home.store.unconfirmed().await.unwrap(),
        None => home.store.newest_confirmed().await.unwrap(),
    };
    let stored = stored.map(|stored| (stored.id, stored.settings)).unwrap_or_default();
    same("stored", stored == (revision, settings.clone()));
    same("the revision shown", status.revision == revision && status.role == settings.role);
    let stands = settings.role != Role::Unset;
    let rules = ruleset::compile(&settings, &Capabilities::everything()).to_string();
    let loaded = home.fake.loaded();
    let applied = match stands {
        true => loaded.is_some_and(|text| text.ends_with(&rules)),
        false => loaded.is_none_or(|text| text == rules),
    };
    same("the rules applied", applied);
    same("the services applied", home.fake.services() == home.appliance.services(&settings));
    let sysctls = home.fake.network().sysctls;
    let wanted = ruleset::sysctls(&settings);
    same("the kernel settings applied", wanted.iter().all(|one| sysctls.contains(one)));
    same("the state shown", status.rules == if stands { Rules::Loaded } else { Rules::NotWanted });
    same("what needs mending", !status.needs_mending);
    let effect = |on: bool| match (stands, on) {
        (false, _) => Effect::Inactive,
        (true, true) => Effect::Ready,
        (true, false) => Effect::Blocked,
    };
    let passthrough = &settings.passthrough;
    for (name, on) in [
        ("pptp", passthrough.pptp.enabled),
        ("l2tp", passthrough.l2tp.enabled),
        ("ipsec", passthrough.ipsec.enabled),
    ] {
        let shown = status.passthrough.iter().find(|one| one.name == name).unwrap();
        same(name, (shown.configured, shown.effect) == (on, effect(on)));
    }
    let many = passthrough.ipsec.many_clients;
    let in_force = many && passthrough.ipsec.enabled && stands;
    same("many clients", (status.many_clients.configured, status.many_clients.in_force) == (many, in_force));
    for shown in &status.helpers {
        let on = shown.helper.wanted(&settings);
        let effect = if settings.role == Role::Companion { Effect::Inactive } else { effect(on) };
        same(&shown.title, (shown.configured, shown.effect) == (on, effect));
    }
    wrong
}

/// All that a refused change leaves as it was.
type Truth = (i64, Settings, Option<String>, Network, services::Services, Vec<i64>);

async fn truth(home: &Home) -> Truth {
    let (revision, settings) = home.appliance.settings();
    let kept = home.store.confirmed_ids(3).await.unwrap();
    (revision, settings, home.fake.loaded(), home.fake.network(), home.fake.services(), kept)
}

/// What the change makes of these settings; none: it is to be refused.
pub(super) fn expected(before: &Settings, pairs: &[(&str, &str)]) -> Option<Settings> {
    let mut wanted = before.clone();
    let odd = pairs.iter().filter(|(key, value)| keys::set(&mut wanted, key, value).is_err()).count();
    // Beside another firewall the page leaves the ports of other pages, unless it was told which to have.
    if wanted.role == Role::Companion && before.role != Role::Companion {
        let Access { port, https_port, .. } = wanted.access;
        for (key, port, other) in [("access.port", port, https_port), ("access.https_port", https_port, port)]
        {
            let instead = IN_PLACE.iter().find(|(of, _)| *of == port.number()).map(|(_, instead)| *instead);
            if let Some(instead) = instead.filter(|instead| *instead != other.number())
                && !pairs.iter().any(|(said, _)| *said == key)
            {
                keys::set(&mut wanted, key, &instead.to_string()).unwrap();
            }
        }
    }
    let wrong = [wanted.check(), wanted.not_built(), timed::check(before, &wanted, wall_clock())].concat();
    (odd == 0 && (wrong.is_empty() || wanted == *before)).then_some(wanted)
}

#[tokio::test]
async fn what_is_stored_applied_and_shown_is_one_after_every_random_change() {
    let seed = seed();
    let mut below = numbers(seed);
    // No trial ends by itself: the clock of a daemon that was started anew would go on.
    let fake = Home::fresh().await.fake;
    // Whichever port is named is there; what becomes of one that is not: the lab (recovery.rs).
    fake.set_links(Vec::new());
    let mut home = Home::on_trial_for(FOR_EVER, fake, Store::in_memory().await.unwrap(), "boot").await;
    home.set(&ROUTER).await.unwrap();
    home.appliance.confirm(None, Author::command_line()).await.unwrap();
    let until = Time::from_unix(wall_clock() + 20 * 3600).to_string();
    let around = Around { until: &until, moves: true, ports: ["wan0", "lan0", "lan1"], nonsense: 12 };
    let [mut done, mut refused, mut failed, mut started] = [0; 4];
    for number in 0..count() {
        let when = format!("POSTERN_SEED={seed}, change {number}");
        let before = truth(&home).await;
        let on_trial = home.appliance.status().await.trial.is_some();
        let wanted = change(&mut below, around);
        let pairs: Vec<(&str, &str)> = wanted.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        match below(100) {
            _ if on_trial && below(3) > 0 => {
                home.appliance.confirm(None, Author::command_line()).await.unwrap();
            }
            0..3 => {
                // A daemon that starts takes back what was on trial, and ends what is to end by itself.
                home = Home::on_trial_for(FOR_EVER, home.fake.clone(), home.store.clone(), "boot").await;
                started += 1;
            }
            3..8 if !on_trial => {
                let ids = home.store.confirmed_ids(20).await.unwrap();
                let id = ids[below(ids.len() as u64) as usize];
                let said = match below(2) {
                    0 => home.appliance.undo(Some(id), Author::command_line()).await,
                    _ => home.appliance.go_back_to(id, Author::command_line()).await,
                };
                if said.is_err() {
                    assert_eq!(truth(&home).await, before, "{when}: {said:?}");
                }
            }
            8..11 if !on_trial => {
                // Whichever step of the kernel fails, all is as it was.
                home.fake.fail_at(1 + below(9) as usize);
                let said = home.set(&pairs).await;
                home.fake.fail_at(usize::MAX);
                if let Err(refusal) = said {
                    failed += u64::from(refusal.kind == RefusalKind::Failed);
                    let after = truth(&home).await;
                    assert_eq!((after.0, &after.1), (before.0, &before.1), "{when}: {refusal:?}");
                }
            }
            _ => match (home.set(&pairs).await, expected(&before.1, &pairs).filter(|_| !on_trial)) {
                (Ok(_), Some(expected)) => {
                    assert_eq!(home.appliance.settings().1, expected, "{when}: {pairs:?}");
                    done += 1;
                }
                (Err(_), None) => {
                    assert_eq!(truth(&home).await, before, "{when}: {pairs:?} was refused");
                    refused += 1;
                }
                (said, expected) => panic!("{when}: {pairs:?}: {said:?}, expected {}", expected.is_some()),
            },
        }
        let wrong = differs(&home).await;
        assert!(
            wrong.is_empty(),
            "{when}, {pairs:?}: these differ: {wrong:?}\n{:?}\n{}",
            home.appliance.status().await.notices,
            home.appliance.settings().1.to_toml()
        );
    }
    let all = count();
    let enough = done > all / 4 && refused > all / 20 && failed > 0 && started > 0;
    eprintln!("{all} changes: {done} done, {refused} refused, {failed} failed, {started} starts");
    assert!(enough, "{done} done, {refused} refused, {failed} failed, {started} started");
}

#[tokio::test]
async fn each_of_the_three_that_differs_is_seen() {
    let home = Home::router().await;
    let mend = async || home.appliance.mend_rules(Author::command_line()).await.unwrap();
    assert_eq!(differs(&home).await, [""; 0]);
    home.fake.edit_table();
    assert!(differs(&home).await.contains(&"the state shown".to_owned()));
    mend().await;
    assert_eq!(differs(&home).await, [""; 0]);
    home.fake.set_sysctl("net/ipv4/ip_forward", "0");
    let wrong = differs(&home).await;
    assert!(wrong.contains(&"what needs mending".to_owned()), "{wrong:?}");
    assert!(wrong.contains(&"the kernel settings applied".to_owned()), "{wrong:?}");
    mend().await;
    // Somebody else's rules; then a revision that nobody has applied.
    home.fake.load(&ruleset::deny(&home.appliance.settings().1), Load::Commit).await.unwrap();
    assert!(differs(&home).await.contains(&"the rules applied".to_owned()));
    mend().await;
    assert_eq!(differs(&home).await, [""; 0]);
    let mut other = home.appliance.settings().1;
    other.firewall.ping = true;
    let before = Before { boot: String::new(), network: Network::default() };
    let new = NewRevision { settings: &other, base: 1, before: &before, who: "root", via: "", comment: "" };
    let id = home.store.save(new).await.unwrap();
    home.store.mark(id, RevisionState::Confirmed).await.unwrap();
    assert_eq!(differs(&home).await, ["stored"]);
}
