//! Every setting, and every step between its save and what is in force: once the step fails, once the daemon is killed there.
//! What is stored, applied and shown is one afterwards. A setting that has no row here fails the test.

use super::truths::{FOR_EVER, differs, expected};
use super::*;
use crate::appliance::timed;
use crate::settings::names::Time;

type Pairs = &'static [(&'static str, &'static str)];
/// How a setting is changed: what is set before, and to what.
type Row = (Pairs, String);

const NOTHING: Pairs = &[];
const BESIDE: Pairs = &[("role", "companion")];
const NO_ROLE: Pairs = &[("role", "unset")];
const PPTP: Pairs = &[("passthrough.pptp.enabled", "true")];
const ACCOUNT: Pairs = &[("internet.pppoe.user", "home@provider"), ("internet.pppoe.password", "s3cret")];
const PPPOE: Pairs = &[ACCOUNT[0], ACCOUNT[1], ("internet.mode", "pppoe")];
const WEB: Pairs = &[("forwards.Web", "tcp 80 to 192.168.1.20")];

/// The changes of one key; a router with two ports and a static address is where they begin.
fn rows(key: &str) -> Vec<Row> {
    let until = Time::from_unix(wall_clock() + 20 * 3600).to_string();
    let one = |value: &str| vec![(NOTHING, value.to_owned())];
    let both = |value: &str| vec![(NOTHING, value.to_owned()), (PPPOE, value.to_owned())];
    match key {
        "role" => vec![
            (NOTHING, "companion".to_owned()),
            (NOTHING, "unset".to_owned()),
            (BESIDE, "router".to_owned()),
            (BESIDE, "unset".to_owned()),
            (NO_ROLE, "router".to_owned()),
            (NO_ROLE, "companion".to_owned()),
        ],
        "passthrough.pptp.enabled"
        | "helpers.ftp"
        | "helpers.tftp"
        | "helpers.sip"
        | "helpers.h323"
        | "helpers.irc"
        | "helpers.sane"
        | "helpers.amanda"
        | "helpers.snmp"
        | "helpers.netbios"
        | "firewall.ping"
        | "access.https" => one("true"),
        "passthrough.ipsec.enabled"
        | "passthrough.ipsec.nat_traversal"
        | "passthrough.ipsec.many_clients"
        | "passthrough.l2tp.enabled"
        | "internet.mss_clamp"
        | "internet.ipv6"
        | "local_network.dhcp.enabled"
        | "local_network.dns.enabled"
        | "local_network.dns.rebind_protection" => one("false"),
        "passthrough.l2tp.ports" => one("1701,1801"),
        "passthrough.pptp.ports" => vec![(NOTHING, "1723,1823".to_owned()), (PPTP, "1723,1823".to_owned())],
        "passthrough.devices" | "passthrough.priority" => one("02:00:00:00:01:01,02:00:00:00:01:02"),
        "passthrough.session_limit.pptp"
        | "passthrough.session_limit.l2tp"
        | "passthrough.session_limit.ipsec" => one("5"),
        "internet.device" => one("lan1"),
        "internet.mode" => {
            vec![(NOTHING, "dhcp".to_owned()), (ACCOUNT, "pppoe".to_owned()), (PPPOE, "static".to_owned())]
        }
        "internet.address" => one("198.51.100.3/24"),
        "internet.gateway" => one("198.51.100.9"),
        "internet.dns" => one("9.9.9.9"),
        "internet.mtu" => both("1400"),
        "internet.mac" => one("02:00:00:00:00:09"),
        "internet.pppoe.user" | "internet.pppoe.password" | "internet.pppoe.service" => both("another"),
        "local_network.devices" => one("lan0,lan1"),
        "local_network.address" => one("192.168.9.1/24"),
        "local_network.domain" => one("lan.example"),
        "local_network.dhcp.start" => one("192.168.1.50"),
        "local_network.dhcp.end" => one("192.168.1.200"),
        "local_network.dhcp.lease" => one("2h"),
        // A list that is written with verbs of its own: see `change`.
        "devices" => one("192.168.1.77"),
        "forwards" => vec![(NOTHING, WEB[0].1.to_owned()), (WEB, "unset".to_owned())],
        "firewall.spi" => one(&format!("off until {until}")),
        "firewall.dmz" => one(&format!("192.168.1.20 until {until}")),
        "firewall.ipv6_ipsec" => one("strict"),
        "access.port" => one("8080"),
        "access.https_port" => one("8443"),
        "access.idle_minutes" => one("20"),
        "system.name" => one("gate"),
        "system.timezone" => one("Europe/Berlin"),
        other => panic!("{other} is a setting without a row: how is it changed?"),
    }
}

/// One change, on boxes that have what is to be there before it.
struct Case<'a> {
    key: &'a str,
    row: Row,
    home: Home,
    /// What the change makes of the settings; none: it is to be refused.
    wanted: Option<Settings>,
    /// Failures and deaths so far.
    faults: usize,
}

impl<'a> Case<'a> {
    async fn new(key: &'a str, row: Row) -> Self {
        let home = Self::begin(&row).await;
        let mut this = Self { key, row, home, wanted: None, faults: 0 };
        let (before, pairs) = (this.home.appliance.settings().1, this.pairs());
        this.wanted = match key {
            "devices" => {
                // Whatever it is: no other way to write it is known here.
                this.change().await.unwrap();
                let wanted = this.home.appliance.settings().1;
                this.home = Self::begin(&this.row).await;
                Some(wanted)
            }
            _ => expected(&before, &[(pairs.0.as_str(), pairs.1.as_str())]),
        };
        this
    }

    async fn begin(row: &Row) -> Home {
        let fake = Fake::new();
        fake.set_links(vec![link("lan0", 2), link("wan0", 3), link("lan1", 4)]);
        let home = Home::on_trial_for(FOR_EVER, fake, Store::in_memory().await.unwrap(), "boot").await;
        for change in [&ROUTER[..], row.0] {
            home.set(change).await.unwrap();
            home.appliance.confirm(None, Author::command_line()).await.unwrap();
        }
        home
    }

    fn pairs(&self) -> (String, String) {
        let key = if self.key == "forwards" { "forwards.Web" } else { self.key };
        (key.to_owned(), self.row.1.clone())
    }

    async fn change(&self) -> Result<String, Refusal> {
        let (key, value) = self.pairs();
        match self.key {
            "devices" => {
                let device = ["02:00:00:00:01:09", "Printer"];
                self.home.appliance.set_device(None, device, Some(&value), Author::command_line()).await
            }
            _ => self.home.set(&[(key.as_str(), value.as_str())]).await,
        }
    }

    /// What a refused change leaves as it was.
    async fn left(&self) -> (i64, Settings, services::Services, Vec<i64>) {
        let (revision, settings) = self.home.appliance.settings();
        let kept = self.home.store.confirmed_ids(9).await.unwrap();
        (revision, settings, self.home.fake.services(), kept)
    }

    async fn is_one(&self, when: &str) {
        let wrong = differs(&self.home).await;
        assert!(wrong.is_empty(), "{when}: these differ: {wrong:?}");
        assert!(!self.open(), "{when}: it is open");
    }

    /// It forwards, and nothing of ours stands in between. Beside another firewall that is the other one's affair.
    fn open(&self) -> bool {
        let beside = self.row.0 == BESIDE || self.row.1 == "companion";
        !beside && is_open(&self.home.fake)
    }

    /// Nothing is on its way.
    async fn is_settled(&self, when: &str) {
        let states = self.home.states().await;
        let settled =
            |state: &RevisionState| matches!(state, RevisionState::Confirmed | RevisionState::Reverted);
        assert!(states.iter().all(settled), "{when}: {states:?}");
    }

    /// One failure; false: the change was over before it.
    async fn fails(&mut self, of_store: bool, k: usize) -> bool {
        let what = if of_store { "write" } else { "call" };
        let when = format!("{} = {} after {:?}, {what} {k} fails", self.key, self.row.1, self.row.0);
        let before = self.left().await;
        self.home.fake.forget_calls();
        match of_store {
            true => self.home.store.faults().fail_at(Some(k)),
            false => self.home.fake.fail_at(k),
        }
        let said = self.change().await;
        let failed = match of_store {
            true => !self.home.store.faults().pending(),
            false => self.home.fake.calls().len() >= k,
        };
        self.home.store.faults().fail_at(None);
        self.home.fake.fail_at(usize::MAX);
        self.is_one(&when).await;
        match said {
            Ok(_) => {
                assert_eq!(Some(self.home.appliance.settings().1), self.wanted, "{when}");
                self.home = Self::begin(&self.row).await;
            }
            Err(refusal) => {
                let kind = if failed { RefusalKind::Failed } else { RefusalKind::Invalid };
                assert_eq!(refusal.kind, kind, "{when}: {refusal:?}");
                assert!(failed || self.wanted.is_none(), "{when}: {refusal:?}");
                assert!(refusal.message.len() > 20, "{when}: {refusal:?}");
                assert_eq!(self.left().await, before, "{when}");
                self.is_settled(&when).await;
            }
        }
        self.faults += usize::from(failed);
        failed
    }

    /// One death; false: the change was over before it. Then the next daemon keeps what was kept, and takes back what is on trial.
    async fn dies(&mut self, of_store: bool, k: usize) -> bool {
        let what = if of_store { "place of the store" } else { "call" };
        let when = format!("{} = {} after {:?}, killed at {what} {k}", self.key, self.row.1, self.row.0);
        let before = self.home.appliance.settings().1;
        match of_store {
            true => self.home.store.faults().die_at(Some(k)),
            false => self.home.fake.die_at(k),
        }
        let (store, fake) = (self.home.store.faults().clone(), self.home.fake.clone());
        let said = tokio::select! {
            said = self.change() => Some(said),
            () = store.died(), if of_store => None,
            () = fake.died(), if !of_store => None,
        };
        assert!(!self.open(), "{when}: it is open");
        store.die_at(None);
        fake.revive();
        let died = said.is_none();
        let acknowledged = said.is_some_and(|said| said.is_ok());
        let on_trial = self.home.store.unconfirmed().await.unwrap().is_some();
        let Home { fake, store, .. } = &self.home;
        self.home = Home::on_trial_for(FOR_EVER, fake.clone(), store.clone(), "boot").await;
        self.is_one(&when).await;
        self.is_settled(&when).await;
        // What is to end by itself ends with the daemon.
        let untimed = |settings: &Settings| {
            let mut settings = settings.clone();
            timed::drop_past(&mut settings, i64::MAX);
            settings
        };
        let now = self.home.appliance.settings().1;
        let wanted = self.wanted.as_ref().map(untimed);
        if acknowledged && !on_trial {
            assert_eq!(Some(now), wanted, "{when}: what was acknowledged is lost");
        } else if now != before {
            // Kept, and killed before anybody was told.
            assert!(died && !on_trial && Some(&now) == wanted.as_ref(), "{when}: {}", now.to_toml());
        }
        if self.home.appliance.settings().1 != before {
            self.home = Self::begin(&self.row).await;
        }
        self.faults += usize::from(died);
        died
    }
}

/// Every key's changes, with a fault at each step. How many changes there were, and how many faults.
async fn every_step(fault: impl AsyncFn(&mut Case<'_>, bool, usize) -> bool) -> (usize, usize) {
    let (mut changes, mut faults) = (0, 0);
    for key in keys::ALL {
        for row in rows(key.name) {
            let mut case = Case::new(key.name, row).await;
            for of_store in [false, true] {
                let mut k = 1;
                while fault(&mut case, of_store, k).await {
                    k += 1;
                    assert!(k < 60, "{}: a change has no end", key.name);
                }
            }
            changes += 1;
            faults += case.faults;
            assert!(case.wanted.is_none() || case.faults > 3, "{}: only {} faults", key.name, case.faults);
        }
    }
    (changes, faults)
}

#[tokio::test]
async fn whichever_step_fails_of_whichever_setting_all_is_as_it_was_or_as_was_asked() {
    let (changes, failures) = every_step(async |case, of_store, k| case.fails(of_store, k).await).await;
    eprintln!("{} settings, {changes} changes, {failures} failing steps: 0 differ", keys::ALL.len());
}

#[tokio::test]
async fn wherever_a_kill_strikes_in_a_change_of_whichever_setting_the_next_daemon_has_one_truth() {
    let (changes, deaths) = every_step(async |case, of_store, k| case.dies(of_store, k).await).await;
    eprintln!("{} settings, {changes} changes, {deaths} deaths: 0 differ, 0 lost", keys::ALL.len());
}
