//! What the box says of its sides and of its settings: proposed, shown, and taken only when told to.

use lab::Lab;
use lab::wait::{self, SOON};

use crate::firewalls::{Beside, Firewall, stand};

#[test]
fn the_sides_are_proposed_by_routes_or_zones_and_what_is_proposed_can_be_taken() {
    for (firewall, from) in
        [(Firewall::Hand, "the default route"), (Firewall::Firewalld, "firewalld's zones")]
    {
        let lab = Lab::new();
        let _running = stand(&lab, firewall);
        let postern = lab.postern();
        let said = postern.ok(&["sides"]);
        assert!(said.contains(from) && said.contains("wan0 leads to the internet and lan0 is"), "{said}");
        assert_eq!(postern.ok(&["get", "role"]).trim(), "unset", "nothing is taken unasked");
        let take = said.split("postern set ").nth(1).expect("it says how to take it").trim();
        postern.set(&take.split(' ').collect::<Vec<_>>());
        postern.ok(&["confirm"]);
        assert!(postern.table().is_some_and(|table| table.contains("role companion")));
    }
}

#[test]
fn openwrts_configuration_is_shown_as_a_difference_and_taken_when_told_to() {
    let lab = Lab::new();
    let _running = stand(&lab, Firewall::Fw4);
    let postern = lab.postern();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../backend/src/uci/fixtures");
    let dry = postern.ok(&["import", "uci", fixtures, "--dry-run"]);
    for part in
        ["internet.device: unset \u{2192} wan", "192.168.7.1/24", "web-server", "Not taken: Port forward"]
    {
        assert!(dry.contains(part), "{part}:\n{dry}");
    }
    assert_eq!(postern.ok(&["get", "internet.device"]).trim(), "unset", "shown, not taken");
    postern.ok(&["import", "uci", fixtures]);
    postern.ok(&["confirm"]);
    assert_eq!(postern.ok(&["get", "internet.device"]).trim(), "wan");
    assert_eq!(postern.table(), None, "the role is the owner's to choose");
    let again = postern.ok(&["import", "uci", fixtures, "--dry-run"]);
    assert!(again.contains("Nothing would change."), "{again}");
}

#[test]
fn where_another_program_has_port_80_the_page_is_at_8080_and_the_status_says_so() {
    let lab = Lab::new();
    let _running = stand(&lab, Firewall::Fw4);
    let other = lab.router().spawn(&["python3", "-m", "http.server", "80"]);
    let taken =
        wait::until(SOON, || lab.router().run(&["curl", "-s", "http://192.168.1.1/"]).ok().then_some(()));
    assert!(taken.is_some(), "the other program serves:\n{}", other.said());
    let mut postern = lab.postern();
    let _web = postern.web_process(&lab.router(), &[]);
    let page = wait::until(SOON, || {
        let page = lab.host("laptop1").run(&["curl", "-sL", "http://192.168.1.1:8080/"]);
        page.out.contains("Postern").then_some(())
    });
    assert!(page.is_some(), "the page is at 8080:\n{}", postern.daemon_said());
    let status = postern.ok(&["status"]);
    assert!(status.contains("the admin page is at http://192.168.1.1:8080/"), "{status}");
    // At the next boot the other one comes later.
    drop(other);
    postern.crash_daemon();
    postern.start_daemon();
    let open = || lab.router().ok(&["ss", "-Hltn"]);
    let listens = wait::until(SOON, || open().contains("192.168.1.1:8080").then_some(()));
    assert!(listens.is_some() && !open().contains("192.168.1.1:80 "), "{}", open());
}

#[test]
fn beside_another_firewall_ports_80_and_443_are_left_to_whoever_comes_later() {
    let mut beside = Beside::new(Firewall::Fw4);
    assert_eq!(beside.postern.ok(&["get", "access.port"]).trim(), "8080");
    let open = |beside: &Beside| beside.lab.router().ok(&["ss", "-Hltn"]);
    let listens = wait::until(SOON, || open(&beside).contains("192.168.1.1:8080").then_some(()));
    assert!(listens.is_some(), "{}", open(&beside));
    beside.postern.end_daemon();
    beside.postern.start_daemon();
    let listens = wait::until(SOON, || open(&beside).contains("192.168.1.1:8080").then_some(()));
    assert!(listens.is_some() && !open(&beside).contains(":80 "), "{}", open(&beside));
    // LuCI's server wants every address.
    let _other = beside.lab.router().spawn(&["python3", "-m", "http.server", "80"]);
    let serves = || beside.lab.host("laptop1").run(&["curl", "-s", "http://192.168.1.1/"]).ok().then_some(());
    assert!(wait::until(SOON, serves).is_some(), "{}", open(&beside));
}
