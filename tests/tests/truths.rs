//! Stored = applied = shown, with the real kernel and the real pages: random changes of all that the home can set, and a stranger's
//! hand in our table. The same with ten thousand changes, on a kernel of paper: `backend/src/appliance/tests/truths.rs`.

// The same random changes as there.
#[path = "../../backend/src/settings/chance.rs"]
mod chance;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chance::{Around, change, numbers};
use lab::{
    Form, Lab, NotDone, Owner, PASSWORD, Postern, Random, Visitor, figures, parts, wait, without_learnt,
};
use postern::door::messages::{Effect, Rules};
use postern::settings::keys::{self, Kind};
use postern::settings::names::Time;
use postern::settings::{FieldError, Settings};

const WARNING: &str = "somebody else has changed Postern's rules";

/// The pages whose fields bear the names of settings.
const PAGES: [&str; 6] = [
    "/security/vpn-passthrough",
    "/security/helpers",
    "/security/firewall",
    "/network/internet",
    "/network/local",
    "/system/access",
];

fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the kernel lists after it was given `rules`, tried out on a host that nobody uses.
fn listed(lab: &Lab, rules: &str) -> BTreeSet<String> {
    let scratch = lab.host("server2");
    scratch.ok_with(&["nft", "-f", "-"], rules);
    let listing = scratch.ok(&["nft", "-s", "list", "table", "inet", "postern"]);
    scratch.ok(&["nft", "delete", "table", "inet", "postern"]);
    parts(&without_learnt(&listing))
}

/// What a page says of a setting, where that is something else than `settings` say.
fn pages_differ(visitor: &mut Visitor, settings: &Settings, wrong: &mut Vec<String>) -> usize {
    let mut compared = 0;
    for page in PAGES {
        let shown = visitor.get(page);
        for form in Form::all(&shown.body) {
            for name in form.names() {
                let Some(key) = keys::find(name) else { continue };
                let is = key.get(settings);
                let last = form.last(name);
                let same = match (key.kind, last) {
                    (Kind::Switch, last) => (last == Some("true")) == (is == "true"),
                    (Kind::Secret | Kind::Records | Kind::List, _) => continue,
                    // An empty field is how a form says that there is none.
                    (_, Some(value)) => {
                        value == is || value.is_empty() && (is == "none" || key.absent == Some(is.as_str()))
                    }
                    // A button of that name.
                    (_, None) => continue,
                };
                compared += 1;
                if !same {
                    wrong.push(format!("{page} shows another {name} than {is}"));
                }
            }
        }
    }
    let page = visitor.get(PAGES[0]);
    for (name, on) in switches(settings) {
        let effect = if on { "ready" } else { "blocked" };
        if page.protocol(name, "data-effect").as_deref() != Some(effect) {
            wrong.push(format!("the page shows another effect of {name}"));
        }
    }
    compared
}

fn switches(settings: &Settings) -> [(&'static str, bool); 3] {
    let passthrough = &settings.passthrough;
    [
        ("pptp", passthrough.pptp.enabled),
        ("l2tp", passthrough.l2tp.enabled),
        ("ipsec", passthrough.ipsec.enabled),
    ]
}

/// Where kernel and status differ from the settings in force.
fn differs(lab: &Lab, postern: &Postern, owner: &Owner) -> Vec<String> {
    let mut wrong = Vec::new();
    let (revision, settings) = owner.settings();
    let status = owner.status();
    if (status.revision, &status.rules, status.needs_mending) != (revision, &Rules::Loaded, false) {
        wrong.push(format!("the status says {:?} of revision {}", status.rules, status.revision));
    }
    for (name, on) in switches(&settings) {
        let effect = if on { Effect::Ready } else { Effect::Blocked };
        if !status
            .passthrough
            .iter()
            .any(|one| (one.name.as_str(), one.configured, one.effect) == (name, on, effect))
        {
            wrong.push(format!("the status says something else of {name}"));
        }
    }
    let listing = postern.table().unwrap_or_default();
    let (mut has, wanted) = (parts(&listing), listed(lab, &owner.rules()));
    // A set or a helper of rules that are gone stays in the table: no rule names it.
    has.retain(|part| {
        let part_of = |kind: &str| part.trim_start().strip_prefix(kind)?.split_whitespace().next();
        let named = match (part_of("set "), part_of("ct helper ")) {
            (Some(set), _) => listing.contains(&format!("@{set} ")),
            (_, Some(helper)) => listing.contains(&format!("ct helper set \"{helper}\"")),
            _ => true,
        };
        named || wanted.contains(part)
    });
    if has != wanted {
        let odd: Vec<&String> = has.symmetric_difference(&wanted).collect();
        wrong.push(format!("the kernel has other rules: {odd:?}"));
    }
    wrong
}

/// What the change makes of these settings; none: it is to be refused.
fn expected(before: &Settings, pairs: &[(&str, &str)]) -> Option<Settings> {
    let mut wanted = before.clone();
    let odd: Vec<FieldError> =
        pairs.iter().filter_map(|(key, value)| keys::set(&mut wanted, key, value).err()).collect();
    let right = odd.is_empty() && wanted.check().is_empty() && wanted.not_built().is_empty();
    (right || odd.is_empty() && wanted == *before).then_some(wanted)
}

fn logged_in(lab: &Lab, postern: &Postern) -> Visitor {
    let mut visitor = postern.visitor(lab, "laptop1");
    let login = visitor.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(visitor.submit("/login", &login).status, 303);
    visitor
}

#[test]
fn after_random_changes_the_kernel_the_status_and_the_pages_say_what_is_stored() {
    let count = times("POSTERN_CHANGES", 60);
    let seed =
        std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(wait::now_ms);
    let mut below = numbers(seed);
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let mut visitor = logged_in(&lab, &postern);
    let owner = postern.owner();
    // A setting that is behind the page's back is seen.
    let mut wrong = Vec::new();
    let mut other = owner.settings().1;
    other.firewall.ping = !other.firewall.ping;
    other.passthrough.l2tp.enabled = !other.passthrough.l2tp.enabled;
    assert!(pages_differ(&mut visitor, &other, &mut wrong) > 20, "the pages have fields of settings");
    assert!(wrong.len() >= 2, "{wrong:?}");
    lab.router().ok(&["nft", "add", "rule", "inet", "postern", "related", "counter"]);
    assert!(differs(&lab, &postern, &owner).len() >= 2, "an edit is seen in the status and in the kernel");
    postern.ok(&["mend"]);

    let until = Time::from_unix(wait::now_ms() as i64 / 1000 + 20 * 3600).to_string();
    let around = Around { until: &until, moves: false, ports: ["wan0", "lan0", "lan1"], nonsense: 12 };
    let (mut done, mut refused, mut compared) = (0, 0, 0);
    for number in 0..count {
        let when = format!("POSTERN_SEED={seed}, change {number}");
        let before = owner.settings();
        let wanted = change(&mut below, around);
        let pairs: Vec<(&str, &str)> =
            wanted.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        match (owner.change(&pairs, ""), expected(&before.1, &pairs)) {
            (Ok(_), Some(expected)) => {
                assert_eq!(owner.settings().1, expected, "{when}: {pairs:?}");
                done += 1;
            }
            (Err(NotDone::Refused(_)), None) => {
                assert_eq!(owner.settings(), before, "{when}: {pairs:?} was refused");
                refused += 1;
            }
            (said, expected) => panic!("{when}: {pairs:?}: {said:?}, expected {}", expected.is_some()),
        }
        let mut wrong = differs(&lab, &postern, &owner);
        if number % 10 == 0 {
            compared += pages_differ(&mut visitor, &owner.settings().1, &mut wrong);
        }
        assert!(wrong.is_empty(), "{when}, {pairs:?}: {wrong:?}");
    }
    assert!(done > count / 4 && refused > 0, "{done} done, {refused} refused");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "truths",
        &format!(
            "{count} random changes, {done} done and {refused} refused\n  stored, kernel and status one after each; {compared} fields of \
             pages compared, all right"
        ),
    );
}

/// What somebody may do to our table, by chance.
fn edit(lab: &Lab, random: &mut Random) -> String {
    let router = lab.router();
    let of = |words: &[&str]| router.ok(words);
    let pick = |random: &mut Random, some: &[String]| some[random.below(some.len() as u64) as usize].clone();
    let listing = of(&["nft", "-a", "list", "table", "inet", "postern"]);
    let mut chain = String::new();
    let (mut chains, mut rules) = (Vec::new(), Vec::new());
    for line in listing.lines() {
        if let Some(name) = line.strip_prefix("\tchain ") {
            chain = name.split(' ').next().unwrap_or_default().to_owned();
            chains.push(chain.clone());
        } else if line.starts_with("\t\t")
            && !line.contains(" hook ")
            && let Some((_, handle)) = line.rsplit_once("# handle ")
            && !chain.is_empty()
        {
            rules.push(format!("{chain} handle {handle}"));
        } else if line == "\t}" {
            chain.clear();
        }
    }
    let (some_chain, some_rule) = (pick(random, &chains), pick(random, &rules));
    let port = 1024 + random.below(60_000);
    let words = match random.below(9) {
        0 => format!("delete rule inet postern {some_rule}"),
        1 => format!("add rule inet postern {some_chain} counter accept"),
        2 => format!("insert rule inet postern {some_chain} tcp dport {port} accept"),
        3 => format!("replace rule inet postern {some_rule} counter"),
        4 => format!(
            "flush chain inet postern {}",
            pick(random, &["input".into(), "forward".into(), "srcnat".into(), "related".into()])
        ),
        5 => "flush table inet postern".to_owned(),
        6 => format!("add element inet postern forward_in {{ 192.168.1.9 . 6 . {port} }}"),
        7 => format!("add chain inet postern theirs{port}; add rule inet postern theirs{port} accept"),
        _ => format!(
            "add chain inet postern {} {{ policy accept; }}",
            pick(random, &["input".into(), "forward".into()])
        ),
    };
    router.ok_with(&["nft", "-f", "-"], &words);
    words
}

#[test]
fn every_random_edit_of_our_table_is_shown_at_once_and_mended_on_a_word() {
    let (count, heard_every) = (times("POSTERN_EDITS", 40), times("POSTERN_HEARD_EVERY", 8));
    let mut random = Random::new();
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true", "firewall.ping=true"]);
    let owner = postern.owner();
    let rules = parts(&postern.table().unwrap_or_default());
    let warnings = || postern.daemon_said().matches(WARNING).count();
    let (mut slowest, mut unseen) = (Duration::ZERO, Vec::new());
    for number in 0..count {
        let (edited, said) = (Instant::now(), warnings());
        let what = edit(&lab, &mut random);
        if parts(&postern.table().unwrap_or_default()) == rules {
            continue; // It was so already: a chain that had no rule, for example.
        }
        if owner.status().rules == Rules::Loaded {
            unseen.push(what.clone());
        }
        if number % heard_every == 0 {
            let heard = wait::until(wait::SOON, || (warnings() > said).then_some(()));
            assert!(heard.is_some(), "{what}: the log does not say it");
            slowest = slowest.max(edited.elapsed());
        }
        postern.ok(&["mend"]);
        assert_eq!(parts(&postern.table().unwrap_or_default()), rules, "{what}: mended exactly");
        assert_eq!(owner.status().rules, Rules::Loaded, "{what}: mended");
    }
    assert!(unseen.is_empty(), "not shown: {unseen:?}");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "truths-edits",
        &format!(
            "{count} random edits of our table\n  all shown at once and mended; in the log after {} ms at most",
            slowest.as_millis()
        ),
    );
}
