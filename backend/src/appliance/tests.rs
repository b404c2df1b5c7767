//! The order of things, on a kernel of paper.

mod steps;
mod truths;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::kernel::fake::Fake;
use crate::kernel::{Counter, Flow, FlowHandle, Network, SeenLink};
use crate::services;

pub(super) const ROUTER: [(&str, &str); 6] = [
    ("role", "router"),
    ("internet.device", "wan0"),
    ("internet.mode", "static"),
    ("internet.address", "198.51.100.2/24"),
    ("internet.gateway", "198.51.100.1"),
    ("local_network.devices", "lan0"),
];

fn patch(pairs: &[(&str, &str)]) -> Vec<Assignment> {
    pairs.iter().map(|(key, value)| Assignment { key: (*key).into(), value: (*value).into() }).collect()
}

fn link(name: &str, index: u32) -> SeenLink {
    SeenLink { name: name.into(), up: true, carrier: true, index, ..SeenLink::default() }
}

pub(super) struct Home {
    pub(super) fake: Fake,
    pub(super) store: Store,
    pub(super) appliance: Arc<Appliance<Fake>>,
}

impl Home {
    pub(super) async fn fresh() -> Self {
        let fake = Fake::new();
        fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
        Self::started(fake, Store::in_memory().await.unwrap()).await
    }

    pub(super) async fn router() -> Self {
        let this = Self::fresh().await;
        this.set(&ROUTER).await.unwrap();
        this.appliance.confirm(None, Author::command_line()).await.unwrap();
        this
    }

    pub(super) async fn started(fake: Fake, store: Store) -> Self {
        Self::on_trial_for(TRIAL, fake, store, "this boot").await
    }

    async fn on_trial_for(trial_time: Duration, fake: Fake, store: Store, boot: &str) -> Self {
        let options = Options { trial_time, boot: boot.to_owned(), ..Options::default() };
        let appliance = Arc::new(Appliance::open(fake.clone(), store.clone(), options).await.unwrap());
        appliance.boot().await;
        Self { fake, store, appliance }
    }

    pub(super) async fn set(&self, pairs: &[(&str, &str)]) -> Result<String, Refusal> {
        self.appliance.change(None, &patch(pairs), "", Author::command_line()).await
    }

    /// All that a failed change must leave as it was.
    async fn truth(&self) -> (i64, Settings, Option<String>, Network, Status, services::Services) {
        let (revision, settings) = self.appliance.settings();
        let mut status = self.appliance.status().await;
        status.clock = crate::clock::Clock::default();
        status.uptime_seconds = 0;
        (revision, settings, self.fake.loaded(), self.fake.network(), status, self.fake.services())
    }

    async fn trial_ends(&self) {
        let over = async {
            while self.appliance.status().await.trial.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), over).await.expect("the trial never ends");
    }

    async fn states(&self) -> Vec<RevisionState> {
        self.store.history(9).await.unwrap().iter().map(|r| r.state).collect()
    }
}

#[tokio::test]
async fn a_fresh_box_is_not_touched() {
    let fresh = Home::fresh().await;
    assert_eq!(fresh.fake.loaded(), None);
    assert_eq!(fresh.fake.network(), Network::default());
    let status = fresh.appliance.status().await;
    assert_eq!(status.rules, Rules::NotWanted);
    assert!(status.passthrough.iter().all(|p| p.effect == Effect::Inactive));
    assert_eq!(
        fresh.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap(),
        "PPTP passthrough will be on once this box has a role."
    );
    assert_eq!(fresh.fake.loaded(), None, "still no role");
}

#[tokio::test]
async fn the_first_apply_denies_before_it_sets_addresses_and_stays_on_trial() {
    let fresh = Home::fresh().await;
    fresh.fake.forget_calls();
    let said = fresh.set(&ROUTER).await.unwrap();
    assert!(said.contains("on trial for 90 seconds"), "{said}");
    let calls: Vec<String> =
        fresh.fake.calls().into_iter().filter(|c| !["observe", "look"].contains(&c.as_str())).collect();
    let order = ["check", "try services", "load", "configure", "load", "serve", "end 0"];
    assert_eq!(calls, order, "deny, addresses, rules, DHCP and DNS");
    assert_eq!(fresh.states().await, [RevisionState::Applied]);
    let other = fresh.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap_err();
    assert_eq!(other.kind, RefusalKind::OnTrial);
    assert_eq!(
        fresh.appliance.go_back_to(1, Author::command_line()).await.unwrap_err().kind,
        RefusalKind::OnTrial
    );
    fresh.appliance.confirm(Some(1), Author::command_line()).await.unwrap();
    assert_eq!(fresh.states().await, [RevisionState::Confirmed]);
    assert!(fresh.appliance.confirm(None, Author::command_line()).await.is_ok(), "nothing on trial is fine");
}

#[tokio::test]
async fn what_nobody_confirms_goes_back_by_itself() {
    let fake = Fake::new();
    fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
    let store = Store::in_memory().await.unwrap();
    let fresh = Home::on_trial_for(Duration::from_secs(3), fake, store, "this boot").await;
    let before = fresh.truth().await;
    fresh.set(&ROUTER).await.unwrap();
    assert_eq!(fresh.states().await, [RevisionState::Applied]);
    fresh.trial_ends().await;
    let after = fresh.truth().await;
    assert_eq!((after.0, after.1), (before.0, before.1));
    assert_eq!(after.4.rules, Rules::NotWanted, "role unset again: our table is gone");
    assert_eq!(fresh.states().await, [RevisionState::Reverted]);

    fresh.set(&ROUTER).await.unwrap();
    fresh.appliance.confirm(None, Author::command_line()).await.unwrap();
    let before = fresh.truth().await;
    fresh.set(&[("local_network.address", "192.168.9.1/24")]).await.unwrap();
    assert_ne!(fresh.truth().await.3, before.3);
    fresh.trial_ends().await;
    assert_eq!(fresh.truth().await, before);
}

#[tokio::test]
async fn what_is_on_trial_goes_back_at_once_when_somebody_says_so() {
    let router = Home::router().await;
    let before = router.truth().await;
    let (kept, _) = router.appliance.settings();
    router.set(&[("local_network.address", "192.168.9.1/24")]).await.unwrap();
    assert_ne!(router.truth().await.3, before.3);
    let another = router.appliance.undo(Some(kept), Author::command_line()).await;
    assert_eq!(another.unwrap_err().kind, RefusalKind::OnTrial, "a revision of before waits");
    let said = router.appliance.undo(None, Author::command_line()).await.unwrap();
    assert_eq!(said, "The settings before are in force again.");
    assert_eq!(router.truth().await, before);
    assert!(router.appliance.status().await.trial.is_none());
    assert_eq!(router.states().await.first(), Some(&RevisionState::Reverted));
}

#[tokio::test]
async fn a_restart_takes_back_what_was_on_trial() {
    let router = Home::router().await;
    let kept = router.truth().await;
    router.set(&[("access.port", "8080")]).await.unwrap();
    let again = Home::started(router.fake.clone(), router.store.clone()).await;
    let after = again.truth().await;
    assert_eq!((after.0, after.1, after.2), (kept.0, kept.1, kept.2));
    assert_eq!(again.states().await[0], RevisionState::Reverted);
}

#[tokio::test]
async fn whichever_step_fails_the_state_before_is_back() {
    for start in ["fresh", "router", "only rules"] {
        let change: &[(&str, &str)] = match start {
            "fresh" => &ROUTER,
            "only rules" => &[("passthrough.pptp.enabled", "true"), ("passthrough.l2tp.enabled", "false")],
            _ => &[("local_network.address", "192.168.9.1/24"), ("passthrough.pptp.enabled", "true")],
        };
        let mut k = 0;
        loop {
            k += 1;
            let one = if start == "fresh" { Home::fresh().await } else { Home::router().await };
            let mut before = one.truth().await;
            one.fake.fail_at(k);
            let Err(refusal) = one.set(change).await else { break };
            assert_eq!(refusal.kind, RefusalKind::Failed, "{start}, step {k}");
            let mut after = one.truth().await;
            if start == "fresh" {
                // What the table said when it was taken away, and links that the fake has not known before.
                (before.2, after.2) = (None, None);
                assert!(after.3.links.iter().all(|l| l.addresses.is_empty() && !l.up), "{:?}", after.3);
                assert!(after.3.sysctls.iter().all(|(_, value)| value == "0"), "{:?}", after.3);
                assert_eq!(after.3.default_route.take().flatten(), None);
                (before.3, after.3) = Default::default();
            }
            assert_eq!(after, before, "{start}: step {k} failed");
            assert!(
                one.states()
                    .await
                    .iter()
                    .all(|s| matches!(s, RevisionState::Confirmed | RevisionState::Reverted))
            );
        }
        assert!(k > 4, "{start}: only {k} steps");
    }
}

#[tokio::test]
async fn a_change_of_rules_alone_runs_nft_once_and_reads_it_back() {
    let router = Home::router().await;
    router.fake.forget_calls();
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    assert_eq!(router.fake.calls(), ["observe", "look", "load", "observe"]);
    router.fake.forget_calls();
    router.set(&[("passthrough.pptp.enabled", "false")]).await.unwrap();
    assert_eq!(router.fake.calls(), ["observe", "look", "load", "observe", "end 0"]);
    // A network that somebody else has changed is put right on the way: that is a step more, so the rules are tried.
    router.fake.set_sysctl("net/ipv4/ip_forward", "0");
    router.fake.forget_calls();
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    let calls = router.fake.calls();
    let (tried, done) =
        (["observe", "look", "check", "try services"], ["observe", "configure", "load", "observe", "serve"]);
    assert_eq!(calls, [tried.as_slice(), &done].concat());
    assert!(!router.appliance.status().await.needs_mending);
}

#[tokio::test]
async fn rules_that_nft_refuses_change_nothing_and_its_words_are_told() {
    for change in [
        [("passthrough.pptp.enabled", "true"), ("passthrough.l2tp.enabled", "false")],
        [("passthrough.pptp.enabled", "true"), ("local_network.address", "192.168.9.1/24")],
    ] {
        let router = Home::router().await;
        let before = router.truth().await;
        router.fake.forget_calls();
        router.fake.refuse_rules("no such helper");
        let refusal = router.set(&change).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Failed);
        assert!(refusal.message.contains("refused the rules: no such helper, so nothing"), "{refusal:?}");
        let calls = router.fake.calls();
        let runs = calls.iter().filter(|c| ["check", "load", "configure"].contains(&c.as_str())).count();
        assert_eq!(runs, 1, "nothing is to be put back: {calls:?}");
        assert_eq!(router.truth().await, before);
        let kept =
            |state: &RevisionState| matches!(state, RevisionState::Confirmed | RevisionState::Reverted);
        assert!(router.states().await.iter().all(kept));
        router.set(&change).await.expect("what was refused once can be asked again");
    }
}

#[tokio::test]
async fn a_stale_page_and_wrong_words_change_nothing() {
    let router = Home::router().await;
    let before = router.truth().await;
    let on = patch(&[("passthrough.pptp.enabled", "true")]);
    let stale = router.appliance.change(Some(0), &on, "", Author::browser(None));
    assert_eq!(stale.await.unwrap_err().kind, RefusalKind::Conflict);
    let wrong = router
        .set(&[("passthrough.pptp.ports", "70000"), ("passthrough.l2tp.enabled", "perhaps")])
        .await
        .unwrap_err();
    let keys: Vec<&str> = wrong.fields.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(keys, ["passthrough.pptp.ports", "passthrough.l2tp.enabled"]);
    let unbuilt = router.set(&[("helpers.sane", "true")]).await.unwrap_err();
    assert_eq!(unbuilt.fields[0].key, "helpers.sane");
    let long = router.appliance.change(None, &[], &"x".repeat(201), Author::browser(None)).await.unwrap_err();
    assert_eq!(long.fields[0].key, "comment");
    assert_eq!(router.truth().await, before);
}

pub(super) fn flow(protocol: u8, server_port: u16, helper: Option<&str>) -> Flow {
    Flow {
        protocol,
        client: "192.168.1.101".parse().unwrap(),
        client_port: 40000,
        server: "203.0.113.10".parse().unwrap(),
        server_port,
        zone: 0,
        helper: helper.map(str::to_owned),
        announced_by: None,
        answered: true,
        tcp_state: (protocol == 6).then_some(3),
        sent: Counter::default(),
        received: Counter::default(),
        handle: FlowHandle::default(),
    }
}

#[tokio::test]
async fn off_ends_the_calls_of_the_home_and_says_how_many() {
    let router = Home::router().await;
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    let own = Flow { client: "198.51.100.2".parse().unwrap(), ..flow(6, 1723, None) };
    router.fake.set_flows(vec![flow(6, 1723, Some("pptp")), flow(47, 7, None), flow(17, 1701, None), own]);
    let status = router.appliance.status().await;
    let open: Vec<(String, u32, Effect)> =
        status.passthrough.iter().map(|p| (p.name.clone(), p.open, p.effect)).collect();
    assert_eq!(
        open,
        [
            ("ipsec".into(), 0, Effect::Ready),
            ("l2tp".into(), 1, Effect::Working),
            ("pptp".into(), 1, Effect::Working)
        ]
    );
    router.fake.forget_calls();
    let said = router.set(&[("passthrough.pptp.enabled", "false")]).await.unwrap();
    assert_eq!(said, "PPTP passthrough is off. 1 call that was open has ended.");
    assert!(router.fake.calls().contains(&"end 2".to_owned()), "{:?}", router.fake.calls());
}

#[tokio::test]
async fn a_call_that_was_open_before_must_redial_and_the_owner_is_told() {
    let router = Home::router().await;
    router.fake.set_flows(vec![flow(6, 1823, None)]);
    let said = router
        .set(&[("passthrough.pptp.enabled", "true"), ("passthrough.pptp.ports", "1723,1823")])
        .await
        .unwrap();
    assert!(said.contains("must redial: 192.168.1.101 to 203.0.113.10 port 1823"), "{said}");
    let status = router.appliance.status().await;
    let pptp = status.passthrough.iter().find(|p| p.name == "pptp").unwrap();
    assert_eq!((pptp.open, pptp.must_redial), (0, 1));
    assert!(pptp.reason.as_ref().unwrap().contains("redial"));
}

#[tokio::test]
async fn a_connection_table_over_four_fifths_is_an_alarm_and_no_other_is() {
    let router = Home::router().await;
    for (entries, room, told) in [
        (80, 100, None),
        (81, 100, Some("The connection table is 81 % full.")),
        (262_144, 262_144, Some("The connection table is 100 % full.")),
        (209_715, 262_144, None),
        (0, 0, None),
    ] {
        router.fake.set_fill(entries, room);
        let notices = router.appliance.status().await.notices;
        let alarm = notices.iter().find(|notice| notice.contains("connection table"));
        assert_eq!(alarm.map(String::as_str), told, "{entries} of {room}");
    }
}

#[tokio::test]
async fn a_kernel_without_the_helper_is_named_and_refuses() {
    let fake = Fake::new();
    fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
    fake.set_capabilities(Capabilities { helpers: BTreeSet::new(), ..Capabilities::everything() });
    let one = Home::started(fake, Store::in_memory().await.unwrap()).await;
    one.set(&ROUTER).await.unwrap();
    one.appliance.confirm(None, Author::command_line()).await.unwrap();
    one.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    let status = one.appliance.status().await;
    let pptp = status.passthrough.iter().find(|p| p.name == "pptp").unwrap();
    assert_eq!(pptp.effect, Effect::Differs);
    assert!(pptp.reason.as_ref().unwrap().contains("kmod-nf-nathelper-extra"));
    assert!(!one.fake.loaded().unwrap().contains("ct helper set"));
}

#[tokio::test]
async fn rules_that_somebody_else_changed_are_shown_and_mended_by_a_save() {
    let router = Home::router().await;
    router.fake.edit_table();
    let status = router.appliance.status().await;
    assert_eq!(status.rules, Rules::Edited);
    assert!(status.passthrough.iter().all(|p| p.effect == Effect::Differs && p.reason.is_some()));
    assert_eq!(
        router.set(&[("passthrough.pptp.enabled", "false")]).await.unwrap(),
        "The rules, addresses and kernel settings were put right again."
    );
    assert_eq!(router.appliance.status().await.rules, Rules::Loaded);
    assert_eq!(router.set(&[]).await.unwrap(), "Nothing was changed: that is how it is already.");
}

#[tokio::test]
async fn undo_goes_back_by_a_new_revision_and_again_forward() {
    let router = Home::router().await;
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    assert_eq!(
        router.appliance.undo(None, Author::command_line()).await.unwrap(),
        "PPTP passthrough is off."
    );
    assert_eq!(router.appliance.undo(None, Author::command_line()).await.unwrap(), "PPTP passthrough is on.");
    let history = router.appliance.history(9).await.unwrap();
    assert_eq!(history[0].comment, "undo of revision 3");
    assert_eq!(history.len(), 4);
}

#[tokio::test]
async fn stop_denies_and_a_start_loads_the_rules_again() {
    let router = Home::router().await;
    let rules = router.fake.loaded();
    router.appliance.stop().await.unwrap();
    assert!(router.fake.loaded().unwrap().contains("postern schema 2, deny"));
    let again = Home::started(router.fake.clone(), router.store.clone()).await;
    assert_eq!(again.fake.loaded(), rules);
    assert_eq!(again.appliance.status().await.rules, Rules::Loaded);
}

#[tokio::test]
async fn a_boot_that_the_kernel_refuses_leaves_the_deny_rules_and_says_so() {
    let router = Home::router().await;
    // capabilities; no unfinished revision; observe, then configure
    router.fake.fail_at(3);
    let again = Home::started(router.fake.clone(), router.store.clone()).await;
    assert!(again.fake.loaded().unwrap().contains("postern schema 2, deny"));
    let status = again.appliance.status().await;
    assert_eq!(status.rules, Rules::Deny);
    assert!(status.notices[0].contains("Only the safe rules are loaded"), "{:?}", status.notices);
    assert_eq!(
        again.set(&[]).await.unwrap(),
        "The rules, addresses and kernel settings were put right again."
    );
    assert_eq!(again.appliance.status().await.rules, Rules::Loaded);
}

/// A box that forwards without our table is an open one.
fn is_open(fake: &Fake) -> bool {
    let forwards =
        fake.network().sysctls.iter().any(|(path, value)| path.ends_with("ip_forward") && value == "1");
    let rules = fake.loaded().filter(|text| !text.trim_end().ends_with("delete table inet postern"));
    forwards && rules.is_none()
}

#[tokio::test]
async fn wherever_a_kill_strikes_the_box_is_never_open_and_the_next_daemon_finds_its_way() {
    for start in ["fresh", "router", "leaving", "only rules"] {
        let change: &[(&str, &str)] = match start {
            "fresh" => &ROUTER,
            "only rules" => &[("passthrough.pptp.enabled", "true"), ("passthrough.l2tp.enabled", "false")],
            "leaving" => &[("role", "unset")],
            _ => &[("local_network.address", "192.168.9.1/24"), ("passthrough.l2tp.enabled", "false")],
        };
        let mut k = 0;
        loop {
            k += 1;
            let one = if start == "fresh" { Home::fresh().await } else { Home::router().await };
            let (_, kept) = one.appliance.settings();
            one.fake.die_at(k);
            let done = tokio::select! {
                done = one.set(change) => Some(done),
                () = one.fake.died() => None,
            };
            one.fake.revive();
            assert!(!is_open(&one.fake), "{start}: killed at call {k}");
            // What was on trial the restart takes back; what was answered as kept is kept.
            let kept = match done {
                Some(_) if start == "only rules" => one.appliance.settings().1,
                _ => kept,
            };
            assert_eq!(done.is_some() && start == "only rules", kept.passthrough.pptp.enabled);
            let Home { fake, store, .. } = one;
            let next = Home::started(fake, store).await;
            assert!(!is_open(&next.fake), "{start}: killed at call {k}, and started again");
            let rules = next.appliance.status().await.rules;
            let expected = if start == "fresh" { Rules::NotWanted } else { Rules::Loaded };
            assert_eq!((rules, next.appliance.settings().1), (expected, kept), "{start}: killed at call {k}");
            if start != "fresh" {
                assert_eq!(
                    next.fake.loaded(),
                    Some(next.appliance.rules().await),
                    "{start}: killed at call {k}"
                );
            }
            if done.is_some() {
                break; // the change was over before the k-th call
            }
            let states = next.states().await;
            assert!(
                states.iter().all(|s| matches!(s, RevisionState::Confirmed | RevisionState::Reverted)),
                "{states:?}"
            );
        }
        assert!(k > 4, "{start}: only {k} calls");
    }
}

#[tokio::test]
async fn a_boot_that_dies_anywhere_is_never_open() {
    for k in 1..12 {
        let router = Home::router().await;
        let Home { store, .. } = router;
        let fake = Fake::new(); // a fresh kernel: no table, nothing forwarded
        fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
        fake.die_at(k);
        let began = tokio::select! {
            _ = Home::started(fake.clone(), store.clone()) => true,
            () = fake.died() => false,
        };
        assert!(!began || k > 4, "a boot has more than {k} calls");
        assert!(!is_open(&fake), "killed at call {k}");
        fake.revive();
        fake.fail_at(k);
        let next = Appliance::open(fake.clone(), store, Options::default()).await;
        if let Ok(next) = next {
            next.boot().await;
        }
        assert!(!is_open(&fake), "call {k} failed");
    }
}

#[tokio::test]
async fn what_was_noted_in_another_boot_is_not_put_back() {
    let fresh = Home::fresh().await;
    fresh.set(&ROUTER).await.unwrap();
    let Home { fake, store, .. } = fresh;
    let before = fake.network();
    let next = Home::on_trial_for(TRIAL, fake, store, "another boot").await;
    assert_eq!(next.fake.network().links, before.links, "addresses are left alone");
    assert!(!is_open(&next.fake));
    assert_eq!(next.states().await, [RevisionState::Reverted]);
}

#[tokio::test]
async fn a_failed_change_never_takes_the_rules_of_a_router_away() {
    for k in 1..16 {
        let router = Home::router().await;
        // Somebody has deleted our table, and then a change fails somewhere.
        let gone = ruleset::absent();
        router.fake.load(&gone, Load::Commit).await.unwrap();
        router.fake.fail_at(k);
        let done = router.set(&[("passthrough.pptp.enabled", "true")]).await;
        if done.is_err() && router.fake.calls().iter().filter(|c| *c == "load").count() > 3 {
            assert!(!is_open(&router.fake), "call {k} failed");
        }
        router.fake.fail_at(1000); // no more of that
        router.set(&[]).await.unwrap();
        assert_eq!(router.appliance.status().await.rules, Rules::Loaded, "call {k} failed");
    }
}

#[tokio::test]
async fn what_others_change_beside_the_table_is_noticed_and_put_right() {
    let router = Home::router().await;
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    router.fake.set_sysctl("net/ipv4/ip_forward", "0");
    let status = router.appliance.status().await;
    assert!(status.needs_mending && status.notices[0].contains("ip_forward is 0"), "{:?}", status.notices);
    assert!(status.passthrough.iter().all(|p| p.effect == Effect::Differs), "it cannot be called ready");
    router.set(&[]).await.unwrap();
    assert!(!router.appliance.status().await.needs_mending);

    router.fake.add_chain("foreign");
    assert_eq!(router.appliance.status().await.rules, Rules::Edited);
    router.appliance.mend_rules(Author::command_line()).await.unwrap();
    assert_eq!(
        router.appliance.status().await.rules,
        Rules::Loaded,
        "a refill alone would have kept the chain"
    );
}

#[tokio::test]
async fn a_stop_lets_no_change_begin_after_it() {
    let router = Home::router().await;
    router.appliance.stop().await.unwrap();
    let late = router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap_err();
    assert!(late.message.contains("stopping"));
    assert!(router.appliance.mend_rules(Author::command_line()).await.is_err());
    assert!(router.fake.loaded().unwrap().contains("postern schema 2, deny"));
}

#[tokio::test]
async fn a_port_that_appears_late_is_taken_into_service() {
    let router = Home::router().await;
    let Home { store, .. } = router;
    let fake = Fake::new();
    fake.fail_at(5); // capabilities, observe, deny and its look, then configure: as if wan0 were not there yet
    let late = Home::started(fake, store).await;
    assert_eq!(late.appliance.status().await.rules, Rules::Deny);
    let watch = late.appliance.clone();
    let watching = tokio::spawn(async move { watch.watch().await });
    let in_force = async {
        while late.appliance.status().await.rules != Rules::Loaded {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), in_force).await.expect("it is never tried again");
    watching.abort();
}

#[tokio::test]
async fn a_port_that_is_gone_keeps_nothing_from_being_set_and_one_that_was_never_there_cannot_be_chosen() {
    let router = Home::router().await;
    let link = |name: &str, index| SeenLink { name: name.into(), index, ..SeenLink::default() };
    let links = |home: &Home, names: &[(&str, u32)]| {
        home.fake.set_links(names.iter().map(|(name, index)| link(name, *index)).collect());
    };
    links(&router, &[("wan0", 3)]);
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    links(&router, &[("lan0", 2)]);
    router
        .set(&[("passthrough.pptp.enabled", "false"), ("local_network.mtu_nonsense", "1")])
        .await
        .unwrap_err();
    router.set(&[("passthrough.pptp.enabled", "false")]).await.unwrap();
    let status = router.appliance.status().await;
    assert!(
        !status.needs_mending && status.notices.iter().any(|told| told.contains("wan0 is not there")),
        "{status:?}"
    );
    let never = router.set(&[("internet.device", "wan7")]).await.unwrap_err();
    assert!(never.message.contains("wan7"), "{never:?}");
    // It is back, as a new one.
    let watch = router.appliance.clone();
    let watching = tokio::spawn(async move { watch.watch().await });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = router.fake.calls().iter().filter(|call| *call == "configure").count();
    links(&router, &[("lan0", 2), ("wan0", 9)]);
    let served = async {
        while router.fake.calls().iter().filter(|call| *call == "configure").count() == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), served).await.expect("nobody puts it into service");
    watching.abort();
}

#[tokio::test]
async fn an_older_change_is_undone_alone_unless_it_was_changed_since() {
    let router = Home::router().await;
    router
        .set(&[("passthrough.pptp.enabled", "true"), ("passthrough.pptp.ports", "1723,1823")])
        .await
        .unwrap();
    router.set(&[("passthrough.l2tp.enabled", "false")]).await.unwrap();
    let root = Author::command_line;
    router.appliance.undo(Some(2), root()).await.unwrap();
    let (_, now) = router.appliance.settings();
    assert!(!now.passthrough.pptp.enabled && !now.passthrough.l2tp.enabled, "only revision 2 was undone");
    router.set(&[("passthrough.l2tp.enabled", "true")]).await.unwrap();
    let refused = router.appliance.undo(Some(3), root()).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.fields[0].key.as_str()),
        (RefusalKind::Conflict, "passthrough.l2tp.enabled")
    );
    assert!(router.appliance.undo(Some(99), root()).await.is_err());
    router.appliance.go_back_to(3, root()).await.unwrap();
    let (revision, now) = router.appliance.settings();
    assert!(now.passthrough.pptp.enabled && !now.passthrough.l2tp.enabled, "all of revision 3");
    assert_eq!(router.store.confirmed(revision).await.unwrap().unwrap().settings, now);
}

#[tokio::test]
async fn each_of_fifty_revisions_can_be_gone_back_to_and_older_ones_are_not_undone() {
    let router = Home::router().await;
    let mut documents = Vec::new();
    for port in 2000..2055 {
        router.set(&[("passthrough.pptp.ports", &port.to_string())]).await.unwrap();
        documents.push(router.appliance.settings());
    }
    for (revision, document) in documents.iter().rev().take(50) {
        router.appliance.go_back_to(*revision, Author::command_line()).await.unwrap();
        assert_eq!(&router.appliance.settings().1, document);
    }
    let old = router.appliance.undo(Some(2), Author::command_line()).await.unwrap_err();
    assert!(old.message.contains("too old"), "{}", old.message);
}

#[tokio::test]
async fn an_import_says_first_what_it_would_change_and_takes_all_or_nothing() {
    let router = Home::router().await;
    let exported = router.appliance.settings().1.to_toml();
    let wanted = exported.replace("ports = [1723]", "ports = [1823]");
    let import = |text: String, dry, base| {
        let appliance = router.appliance.clone();
        async move { appliance.import(&text, dry, base, Author::command_line()).await }
    };
    let Imported::Would(differs) = import(wanted.clone(), true, None).await.unwrap() else {
        panic!("not dry")
    };
    assert_eq!(differs.len(), 1);
    assert_eq!((differs[0].key.as_str(), differs[0].after.as_str()), ("passthrough.pptp.ports", "1823"));
    let before = router.truth().await;
    let unknown = import(format!("{wanted}\n[passthroug]\nx = 1\n"), false, None).await.unwrap_err();
    assert!(
        unknown.message.contains("Line ") && unknown.message.contains("passthroug"),
        "{}",
        unknown.message
    );
    let stale = import(wanted.clone(), false, Some(0)).await.unwrap_err();
    assert_eq!(stale.kind, RefusalKind::Conflict);
    assert_eq!(router.truth().await, before);
    import(wanted, false, Some(1)).await.unwrap();
    assert_eq!(router.appliance.settings().1.to_toml(), exported.replace("ports = [1723]", "ports = [1823]"));
}

/// What the journal says, newest first.
async fn journal(home: &Home) -> Vec<String> {
    let page = home.appliance.told(&crate::journal::JournalFilter::default()).await;
    page.entries.iter().map(|entry| format!("{}: {}", entry.kind.word(), entry.sentence())).collect()
}

#[tokio::test]
async fn what_is_done_stands_in_the_journal_with_who_did_it_and_what_became_of_it() {
    let router = Home::router().await;
    let page = router.appliance.told(&crate::journal::JournalFilter::default()).await;
    let changes: Vec<&str> = page.entries[1].changes.iter().map(|change| change.key.as_str()).collect();
    assert!(changes.contains(&"internet.address"), "{changes:?}");
    router.set(&[("firewall.ping", "true")]).await.unwrap();
    router.fake.fail_at(2);
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap_err();
    router.fake.fail_at(1000);
    router.fake.add_chain("foreign");
    router.appliance.mend_rules(Author::browser(Some([192, 168, 1, 9].into()))).await.unwrap();
    router.appliance.undo(None, Author::command_line()).await.unwrap();
    let said = journal(&router).await;
    let expected = [
        "change: Root (command line) changed settings, revision",
        "foreign: Owner (192.168.1.9) put the rules, addresses and kernel settings right again",
        "failed: Root (command line) wanted to change settings; ",
        "change: Root (command line) changed settings, revision 2",
        "trial: Root (command line) confirmed revision 1",
        "change: Root (command line) changed settings, revision 1, on trial",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said} / {expected}");
    }
    assert!(said[0].ends_with(": undo of revision 2"), "{}", said[0]);
}

#[tokio::test]
async fn a_trial_that_lapses_and_a_helper_that_is_missing_are_told() {
    let (fake, store) = (Fake::new(), Store::in_memory().await.unwrap());
    fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
    let home = Home::on_trial_for(Duration::from_millis(10), fake, store, "this boot").await;
    home.set(&ROUTER).await.unwrap();
    home.trial_ends().await;
    let said = journal(&home).await;
    assert!(
        said[0].starts_with("trial: Postern took back revision 1: nobody confirmed it in time."),
        "{said:#?}"
    );

    let router = Home::router().await;
    let mut without = Capabilities::everything();
    without.helpers.remove(&crate::ruleset::Helper::Pptp);
    router.fake.set_capabilities(without);
    router.appliance.look_again().await.unwrap();
    assert_eq!(router.appliance.status().await.notices, [] as [String; 0], "nobody wants it");
    router.set(&[("passthrough.pptp.enabled", "true")]).await.unwrap();
    let told = router.appliance.status().await.notices;
    assert!(told.len() == 1 && told[0].contains("PPTP"), "{told:?}");
}

/// What a change does that opens something, asked by `author`, on a router that had the same forward before.
async fn open_by_every_way(author: &dyn Fn() -> Author) -> Vec<(&'static str, Option<RefusalKind>, bool)> {
    const WEB: (&str, &str) = ("forwards.web", "tcp 80 to 192.168.1.20");
    let mut seen = Vec::new();
    for way in ["change", "undo", "go back", "import"] {
        let home = Home::router().await;
        home.set(&[WEB]).await.unwrap();
        let (with, open) = home.appliance.settings();
        home.set(&[("forwards.web", "tcp 80 to 192.168.1.20 (off)")]).await.unwrap();
        let before = home.truth().await;
        let done = match way {
            "change" => home.appliance.change(None, &patch(&[WEB]), "", author()).await.err(),
            "undo" => home.appliance.undo(None, author()).await.err(),
            "go back" => home.appliance.go_back_to(with, author()).await.err(),
            _ => home.appliance.import(&open.to_toml(), false, None, author()).await.err(),
        };
        let after = home.truth().await;
        assert_eq!(done.is_some(), before == after, "{way}: {done:?}");
        seen.push((way, done.map(|refusal| refusal.kind), after.1 == open));
    }
    seen
}

#[tokio::test]
async fn no_way_opens_anything_to_the_internet_without_the_password_typed_just_now() {
    let browser = |fresh| Author::browser(None).with_proof(fresh);
    for (way, refused, open) in open_by_every_way(&|| browser(false)).await {
        assert_eq!((refused, open), (Some(RefusalKind::Prove), false), "{way}");
    }
    for (way, refused, open) in open_by_every_way(&|| browser(true)).await {
        assert_eq!((refused, open), (None, true), "{way}");
    }
}
