//! The owner's whole story in a real browser, with a real PPTP call.

use std::path::PathBuf;
use std::time::Duration;

use lab::{Browser, CallOptions, Lab, PASSWORD, ROUTER_SETTINGS, address, wait};

const BOX: &str = "input[type=checkbox][name='passthrough.pptp.enabled']";

/// The value of `data-...` of PPTP's element on the page.
fn pptp(browser: &Browser, name: &str) -> String {
    let inside = format!("[data-protocol=pptp][{name}], [data-protocol=pptp] [{name}]");
    browser.attribute(&inside, name).unwrap_or_default()
}

/// Reloads the page until PPTP's element shows this value.
#[track_caller]
fn wait_shows(browser: &Browser, page: &str, name: &str, value: &str) {
    let seen = wait::until(Duration::from_secs(15), || {
        browser.open(page);
        (pptp(browser, name) == value).then_some(())
    });
    assert!(seen.is_some(), "the page should show {name}={value}, not {}", pptp(browser, name));
}

/// Kept in the folder that `POSTERN_SHOTS` names, if it does.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("POSTERN_SHOTS").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("the folder for pictures can be made");
        browser.picture(&folder, name);
    }
}

/// The page fits a phone and a desk; with its picture.
fn fits(browser: &Browser, name: &str) {
    for width in [390, 1280] {
        browser.look(width, false);
        assert!(!browser.scrolls_sideways(), "{name} scrolls sideways at {width}");
    }
    picture(browser, name);
}

fn login(browser: &Browser) {
    browser.wait_for("input[name=password]");
    browser.type_into("input[name=password]", PASSWORD);
    browser.submit("input[name=password]");
    browser.wait_for("form[action='/logout']");
}

#[test]
fn the_owner_claims_the_box_ticks_pptp_sees_the_call_and_ends_it() {
    let lab = Lab::new();
    let mut postern = lab.postern();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.start_web(&lab);
    let server = lab.pptp_server("server1", 1723);
    let browser = Browser::start(&lab.host("laptop1"));
    let picture = |name: &str| fits(&browser, name);

    browser.open("http://192.168.1.1/");
    browser.wait_for("input[name=code]");
    picture("claim");
    browser.type_into("input[name=code]", postern.ok(&["claim-code"]).trim());
    browser.type_into("input[name=password]", PASSWORD);
    browser.type_into("input[name=repeat]", PASSWORD);
    browser.submit("input[name=code]");
    browser.wait_for("form[action='/logout'], form[action='/login']");
    if browser.shows("form[action='/logout']") {
        browser.click("form[action='/logout'] button");
    }
    browser.wait_for("input[name=password]");
    picture("login");
    login(&browser);
    browser.open("http://192.168.1.1/");
    picture("overview");

    let page = "http://192.168.1.1/security/vpn-passthrough";
    browser.click("a[href='/security/vpn-passthrough']");
    browser.wait_for(BOX);
    assert_eq!(browser.url(), page);
    assert_eq!(pptp(&browser, "data-effect"), "blocked");
    picture("passthrough-off");
    let laptop = lab.host("laptop2");
    assert!(laptop.pptp_call(address("server1"), &CallOptions::default()).outcome().is_err(), "PPTP is off");

    browser.click(BOX);
    browser.submit(BOX);
    wait_shows(&browser, page, "data-effect", "ready");
    let mut call = laptop.pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(server.inner), "a ping goes through the call:\n{}", call.said());
    wait_shows(&browser, page, "data-open", "1");
    assert_eq!(pptp(&browser, "data-effect"), "working");
    picture("passthrough-working");

    browser.open("http://192.168.1.1/vpn-sessions");
    browser.wait_for("[data-session] form");
    let mut pings = call.ping_on(server.inner);
    picture("sessions");
    // What changes does so without a reload, and a second call appears by itself.
    let mut second = lab.host("phone").pptp_call(address("server1"), &CallOptions::default());
    second.wait_up();
    browser.wait_for("[data-session] + [data-session]");
    browser.wait_for("svg.rate polyline");
    picture("sessions-live");
    let _ = pings.wait_end(Duration::from_millis(1));
    browser.open("http://192.168.1.1/diagnose");
    browser.wait_for("svg.seq");
    picture("diagnose");
    browser.open("http://192.168.1.1/vpn-sessions");
    browser.wait_for("[data-session] + [data-session] form");
    browser.click("[data-session] + [data-session] button");
    browser.wait_for(".flash");
    // Its program is told with the next packet that it sends.
    assert!(second.silent(server.inner) && second.ends_within(Duration::from_secs(5)), "{}", second.said());
    browser.open(page);
    browser.wait_for(BOX);

    browser.click(BOX);
    browser.submit(BOX);
    wait_shows(&browser, page, "data-effect", "blocked");
    assert!(call.silent(server.inner), "the call is over");
    wait_shows(&browser, page, "data-open", "0");
    // Over plain HTTP a browser ignores this header, and says so; over HTTPS it counts.
    let mut complaints = browser.complaints();
    complaints.retain(|line| !line.contains("Cross-Origin-Opener-Policy header has been ignored"));
    assert!(complaints.is_empty(), "the browser complained: {complaints:#?}");
}

/// Its file is in a folder of the browser's machine, and nobody opens an editor.
#[test]
fn a_backup_is_chosen_as_a_file_and_what_is_on_trial_shows_how_long() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    let file = "/run/lab/home.backup";
    let sealed = postern.cli_with(&["backup", file, "--password-stdin"], "a backup's own password");
    assert!(sealed.ok(), "{sealed:?}");
    postern.set(&["passthrough.pptp.enabled=true"]);
    postern.start_web(&lab);
    let browser = Browser::start(&lab.host("laptop1"));
    browser.open("http://192.168.1.1/login");
    login(&browser);
    browser.open("http://192.168.1.1/system/backup");
    lab.host("laptop1").write("/run/lab/long.backup", "x".repeat(200_000));
    browser.type_into("input[data-into=restore-backup]", "/run/lab/long.backup");
    let held = || {
        let said = "return document.querySelector('input[data-into=restore-backup]').validationMessage;";
        browser.script(said, &serde_json::json!([])).as_str().unwrap_or_default().to_owned()
    };
    let told = wait::until(wait::SOON, || held().contains("too long").then_some(()));
    assert!(
        told.is_some() && browser.text("#restore-backup").is_empty(),
        "nothing of it is taken: {}",
        held()
    );
    browser.type_into("#restore-backup", "pasted");
    assert_eq!(held(), "", "who pastes after all may send the form");
    browser.type_into("input[data-into=restore-backup]", file);
    browser.type_into("#restore-password", "a backup's own password");
    browser.type_into("#restore-owner", PASSWORD);
    fits(&browser, "backup");
    browser.submit("#restore-backup");
    browser.wait_for("form[action='/system/backup/restore/now']");
    assert!(browser.text("main").contains("PPTP"), "what would change:\n{}", browser.text("main"));

    postern.set(&["local_network.address=192.168.1.1/23"]);
    browser.open("http://192.168.1.1/system/about");
    browser.wait_for(".trial svg animate");
    picture(&browser, "trial");
    let width = "return document.querySelector('.trial animate').parentNode.getBoundingClientRect().width;";
    let wide = || browser.script(width, &serde_json::json!([])).as_f64();
    let first = wide().expect("the time that is left is drawn");
    let less = wait::until(wait::SOON, || wide().filter(|now| *now < first));
    assert!(less.is_some(), "it stays {first} wide");
}

/// What a fresh box asks, as its owner sees it: the guides have these pictures.
#[test]
fn the_pages_of_the_first_minutes_say_what_was_found_and_fit_a_phone() {
    let lab = Lab::new();
    let router = lab.router();
    router.ok(&["ip", "addr", "add", "192.168.1.1/24", "dev", "lan0"]);
    router.ok(&["ip", "link", "set", "wan0", "down"]);
    let _provider =
        lab.dhcp_provider("198.51.100.50", "198.51.100.60", &["--dhcp-option=option:router,198.51.100.1"]);
    let mut postern = lab.postern();
    postern.claim();
    postern.start_web(&lab);
    let browser = Browser::start(&lab.host("laptop1"));
    browser.open("http://192.168.1.1/login");
    login(&browser);
    browser.open("http://192.168.1.1/network/ports");
    browser.click("form[action='/network/ports/look'] button");
    browser.wait_for("[data-port=wan0][data-choice=internet]");
    browser.wait_for("[data-port=lan0][data-choice=local]");
    fits(&browser, "ports");
    // What OpenWrt's init script hands over, and its firewall.
    for (name, text) in [
        (
            "network",
            "config interface 'lan'\n\toption device 'lan0'\n\toption proto 'static'\n\toption ipaddr '192.168.1.1'\n\toption netmask '255.255.255.0'\n\n\
            config interface 'wan'\n\toption device 'wan0'\n\toption proto 'dhcp'\n",
        ),
        (
            "firewall",
            "config zone\n\toption name 'lan'\n\tlist network 'lan'\n\toption input 'ACCEPT'\n\n\
            config zone\n\toption name 'wan'\n\tlist network 'wan'\n\toption input 'REJECT'\n\toption masq '1'\n\n\
            config forwarding\n\toption src 'lan'\n\toption dest 'wan'\n",
        ),
    ] {
        let there = format!("/run/postern/door-uci/{name}");
        lab.outer().ok_with(&["sh", "-euc", "mkdir -p ${0%/*}; cat >$0; chmod 644 $0", &there], text);
    }
    let theirs = "table inet fw4 { chain forward { type filter hook forward priority filter; policy drop; ct state established accept; }\n}";
    router.ok_with(&["nft", "-f", "-"], theirs);
    router.ok(&["ip", "link", "set", "wan0", "up"]);
    browser.open("http://192.168.1.1/network/role");
    browser.wait_for("main");
    let said = browser.text("main");
    assert!(said.contains("fw4") && browser.shows("[data-proposal]"), "{said}");
    fits(&browser, "role");
}
