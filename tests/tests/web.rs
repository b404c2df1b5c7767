//! The admin pages over real HTTP from a laptop, as a browser without script uses them.

use std::time::Duration;

use lab::http::Response;
use lab::{Form, Lab, PASSWORD, Postern, ROUTER_SETTINGS, Visitor, wait};

const PAGE: &str = "/security/vpn-passthrough";
const PPTP: &str = "passthrough.pptp.enabled";

/// A router whose pages answer; claimed if so wished.
fn router(lab: &Lab, claimed: bool) -> Postern {
    let mut postern = lab.postern();
    if claimed {
        postern.claim();
    }
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.start_web(lab);
    postern
}

/// Sends the form of the page at `path`, filled, and waits out the delay after a wrong one if it must.
fn send_patiently(visitor: &mut Visitor, path: &str, fields: &[(&str, &str)]) -> Response {
    let answer = wait::until(Duration::from_secs(30), || {
        let form =
            fields.iter().fold(visitor.form(path, fields[0].0), |form, (name, value)| form.fill(name, value));
        Some(visitor.submit(path, &form)).filter(|answer| answer.status != 429)
    });
    answer.expect("a delay after one wrong password is over in half a minute")
}

fn claim(visitor: &mut Visitor, code: &str, password: &str, repeat: &str) -> Response {
    send_patiently(visitor, "/claim", &[("code", code), ("password", password), ("repeat", repeat)])
}

fn logged_in(lab: &Lab, postern: &Postern) -> Visitor {
    let mut owner = postern.visitor(lab, "laptop1");
    let answer = send_patiently(&mut owner, "/login", &[("password", PASSWORD)]);
    assert_eq!(answer.status, 303, "the right password is taken:\n{}", answer.body);
    owner
}

#[track_caller]
fn sent_to(answer: &Response, path: &str) {
    let location = answer.header("location").unwrap_or_default();
    assert!(
        answer.status == 303 && location.starts_with(path),
        "{} to `{location}`, not to {path}",
        answer.status
    );
}

/// The name of the hidden field that proves the form was ours.
#[track_caller]
fn token_name(form: &Form) -> String {
    let names = form.sent().into_iter().find(|name| name.contains("token") || name.contains("csrf"));
    names.unwrap_or_else(|| panic!("the form has no token: {:?}", form.sent())).to_owned()
}

#[test]
fn an_unclaimed_box_shows_only_the_claim_page_and_wants_the_right_code() {
    let lab = Lab::new();
    let postern = router(&lab, false);
    let mut owner = postern.visitor(&lab, "laptop1");
    for path in ["/", "/login", PAGE] {
        sent_to(&owner.get(path), "/claim");
    }
    let wrong = claim(&mut owner, "WRONG-WRONG", PASSWORD, PASSWORD);
    assert!((400..500).contains(&wrong.status), "a wrong code is refused: {}", wrong.status);
    assert!(!wrong.body.contains(PASSWORD), "the page does not repeat the password");
    sent_to(&owner.get("/"), "/claim");

    let code = postern.ok(&["claim-code"]);
    let typo = claim(&mut owner, code.trim(), PASSWORD, "correct horse battery stapler");
    assert_eq!(typo.status, 422, "a password that was not typed the same twice is refused");
    let right = claim(&mut owner, code.trim(), PASSWORD, PASSWORD);
    assert_eq!(right.status, 303, "the right code is taken:\n{}", right.body);
    assert_ne!(owner.get("/claim").status, 200, "a claimed box cannot be claimed again");
    let mut other = postern.visitor(&lab, "laptop2");
    sent_to(&other.get("/"), "/login");
    assert_eq!(send_patiently(&mut other, "/login", &[("password", PASSWORD)]).status, 303);
    assert_eq!(other.get("/").status, 200);
}

#[test]
fn a_short_password_cannot_claim_the_box() {
    let lab = Lab::new();
    let postern = router(&lab, false);
    let mut owner = postern.visitor(&lab, "laptop1");
    let code = postern.ok(&["claim-code"]);
    let answer = claim(&mut owner, code.trim(), "short", "short");
    assert_eq!(answer.status, 422, "{}", answer.body);
    sent_to(&owner.get("/"), "/claim");
    // With a longer one the same form is taken: so it was the length.
    assert_eq!(claim(&mut owner, code.trim(), PASSWORD, PASSWORD).status, 303);
}

#[test]
fn a_wrong_password_opens_nothing_and_the_right_one_does() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = postern.visitor(&lab, "laptop1");
    let wrong = send_patiently(&mut owner, "/login", &[("password", "not the password")]);
    assert!((400..500).contains(&wrong.status), "{}", wrong.status);
    sent_to(&owner.get(PAGE), "/login");
    let right = send_patiently(&mut owner, "/login", &[("password", PASSWORD)]);
    assert_eq!(right.status, 303, "{}", right.body);
    let cookie = right.headers_named("set-cookie").collect::<Vec<_>>().join("\n").to_ascii_lowercase();
    for wanted in ["httponly", "samesite=strict", "path=/"] {
        assert!(cookie.contains(wanted), "the cookie lacks {wanted}: {cookie}");
    }
    assert_eq!(owner.get(PAGE).status, 200);
}

#[test]
fn many_wrong_passwords_are_slowed_down() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut guesser = postern.visitor(&lab, "laptop2");
    let mut slowed = false;
    for guess in 0..12 {
        let form = guesser.form("/login", "password").fill("password", &format!("guess number {guess}"));
        slowed |= guesser.submit("/login", &form).status == 429;
    }
    assert!(slowed, "twelve wrong passwords in a row should meet a delay");
}

#[test]
fn ticking_pptp_and_saving_makes_it_true_in_the_kernel_and_says_so() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let page = owner.get(PAGE);
    assert_eq!(page.protocol("pptp", "data-effect").as_deref(), Some("blocked"));
    assert_eq!(page.protocol("ipsec", "data-effect").as_deref(), Some("ready"));
    let form = owner.form(PAGE, PPTP);
    assert_eq!(form.value(PPTP), None, "PPTP is not ticked in the factory state");
    assert!(
        form.value("passthrough.ipsec.enabled").is_some() && form.value("passthrough.l2tp.enabled").is_some()
    );

    sent_to(&owner.submit(PAGE, &form.clone().tick(PPTP, true)), PAGE);
    assert_eq!(postern.ok(&["get", PPTP]).trim(), "true");
    assert!(
        postern.table().is_some_and(|table| table.contains("ct helper set \"pptp\"")),
        "the helper is loaded"
    );
    let page = owner.get(PAGE);
    assert!(page.body.contains("PPTP passthrough is on"), "the page says what is true now:\n{}", page.body);
    assert_eq!(page.protocol("pptp", "data-effect").as_deref(), Some("ready"));
    assert!(!owner.get(PAGE).body.contains("PPTP passthrough is on."), "and says it once");

    let form = owner.form(PAGE, PPTP);
    assert!(form.value(PPTP).is_some(), "the box is ticked now");
    sent_to(&owner.submit(PAGE, &form.tick(PPTP, false)), PAGE);
    assert_eq!(postern.ok(&["get", PPTP]).trim(), "false");
    assert_eq!(owner.get(PAGE).protocol("pptp", "data-effect").as_deref(), Some("blocked"));
    let history = postern.json(&["history"]).to_string();
    assert!(history.contains("owner") && history.contains("192.168.1.101"), "who did it is kept: {history}");
}

#[test]
fn ticking_ftp_among_the_other_helpers_makes_it_true_in_the_kernel_and_says_so() {
    const HELPERS: &str = "/security/helpers";
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let in_kernel = || {
        postern.table().is_some_and(|table| {
            table.contains("tcp dport 21 ct direction original ct state new ct helper set \"ftp\"")
        })
    };
    for (on, effect, said) in
        [(true, "ready", "The helper for FTP is on"), (false, "blocked", "The helper for FTP is off")]
    {
        assert_eq!(in_kernel(), !on);
        let form = owner.form(HELPERS, "base_revision");
        assert_eq!(form.value("helpers.ftp").is_some(), !on);
        sent_to(&owner.submit(HELPERS, &form.tick("helpers.ftp", on)), HELPERS);
        assert_eq!((postern.ok(&["get", "helpers.ftp"]).trim(), in_kernel()), (on.to_string().as_str(), on));
        let page = owner.get(HELPERS).body;
        assert!(page.contains(said), "{page}");
        let shown = format!("data-helper=\"ftp\" data-effect=\"{effect}\"");
        assert!(page.contains(&shown), "{shown}: {page}");
        // One box does not tick another.
        assert_eq!(page.matches("data-effect=\"ready\"").count(), usize::from(on), "{page}");
    }
}

#[test]
fn the_switches_for_several_ipsec_devices_and_strict_ipv6_are_true_in_the_kernel() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let (many, strict) = ("passthrough.ipsec.many_clients", "firewall.ipv6_ipsec");
    let zones =
        || postern.table().is_some_and(|table| table.contains("ct zone set ip saddr . esp spi map @esp_in"));
    let comes_in = || postern.table().is_some_and(|table| table.contains("IPv6: IPsec may come in"));
    assert_eq!((zones(), comes_in()), (true, true), "the factory state");
    assert!(owner.get(PAGE).body.contains("data-many-clients=\"in-force\""));
    let form = owner.form(PAGE, many);
    assert!(form.value(many).is_some() && form.value(strict).is_none());
    sent_to(&owner.submit(PAGE, &form.tick(many, false).tick(strict, true)), PAGE);
    assert_eq!((zones(), comes_in()), (false, false));
    assert_eq!((postern.ok(&["get", many]).trim(), postern.ok(&["get", strict]).trim()), ("false", "strict"));
    assert!(owner.get(PAGE).body.contains("data-many-clients=\"no\""));
    let form = owner.form(PAGE, many);
    assert!(form.value(many).is_none() && form.value(strict).is_some(), "the page shows what was saved");
    sent_to(&owner.submit(PAGE, &form.tick(many, true).tick(strict, false)), PAGE);
    assert_eq!((zones(), comes_in()), (true, true), "and back");
}

#[test]
fn saving_what_another_tab_has_changed_since_is_refused_and_shown() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let old_tab = owner.form(PAGE, PPTP);
    postern.set(&["passthrough.l2tp.enabled=false"]);
    let answer = owner.submit(PAGE, &old_tab.tick(PPTP, true));
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    assert_eq!(postern.ok(&["get", PPTP]).trim(), "false", "nothing of it was saved");
    assert_eq!(postern.ok(&["get", "passthrough.l2tp.enabled"]).trim(), "false", "the other change stands");
}

#[test]
fn a_change_without_our_token_or_from_a_foreign_page_is_refused() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let form = owner.form(PAGE, PPTP).tick(PPTP, true);
    let token = token_name(&form);
    let own = ("Origin", "http://192.168.1.1");
    let refused = [
        ("no token", form.clone().without(&token), vec![own, ("Sec-Fetch-Site", "same-origin")]),
        ("a wrong token", form.clone().fill(&token, "0"), vec![own, ("Sec-Fetch-Site", "same-origin")]),
        (
            "a foreign Origin",
            form.clone(),
            vec![("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")],
        ),
        ("an Origin alone that is foreign", form.clone(), vec![("Origin", "http://evil.example")]),
        ("a cross-site fetch", form.clone(), vec![own, ("Sec-Fetch-Site", "cross-site")]),
        ("an Origin null", form.clone(), vec![("Origin", "null")]),
    ];
    for (what, form, headers) in refused {
        let answer = owner.submit_from(PAGE, &form, &headers);
        assert_eq!(answer.status, 403, "{what}:\n{}", answer.body);
        assert_eq!(postern.ok(&["get", PPTP]).trim(), "false", "{what} changed something");
    }
    // The same form as it should be: so it was the token and the origin that were refused.
    sent_to(&owner.submit(PAGE, &form), PAGE);
    let mut stranger = postern.visitor(&lab, "laptop2");
    let answer = stranger.submit(PAGE, &form);
    assert!(answer.status == 403 || answer.status == 303, "{}", answer.status);
    assert_eq!(postern.ok(&["get", PPTP]).trim(), "true");
}

#[test]
fn a_request_for_a_foreign_name_is_misdirected() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut rebound = postern.visitor(&lab, "laptop1");
    for name in ["evil.example", "192.168.1.1.evil.example", "198.51.100.2"] {
        name.clone_into(&mut rebound.name);
        for path in ["/", "/login", PAGE] {
            assert_eq!(rebound.get(path).status, 421, "{path} for Host {name}");
        }
    }
    "192.168.1.1".clone_into(&mut rebound.name);
    assert_eq!(rebound.get("/login").status, 200);
}

#[test]
fn every_answer_carries_the_security_headers() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let mut stranger = postern.visitor(&lab, "laptop2");
    let mut foreign = postern.visitor(&lab, "laptop2");
    "evil.example".clone_into(&mut foreign.name);
    let answers = [
        ("the overview", owner.get("/")),
        ("the passthrough page", owner.get(PAGE)),
        ("a page that does not exist", owner.get("/no/such/page")),
        ("the login page", stranger.get("/login")),
        ("a redirect", stranger.get("/")),
        ("a misdirected request", foreign.get("/")),
        (
            "a refused form",
            stranger.submit_from("/login", &Form::default(), &[("Origin", "http://evil.example")]),
        ),
        ("a method nobody serves", stranger.request("DELETE", "/", "", &[])),
    ];
    for (what, answer) in answers {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") || policy.contains("default-src 'self'"),
            "{what}: `{policy}`"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-"),
            "{what}: `{policy}`"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        let referrer = answer.header("referrer-policy").unwrap_or_default();
        assert!(["no-referrer", "same-origin"].contains(&referrer), "{what}: `{referrer}`");
        let cache = answer.header("cache-control").unwrap_or_default();
        assert!(cache.contains("no-store"), "{what}: `{cache}`");
        assert_eq!(answer.header("server"), None, "{what}");
    }
}

#[test]
fn after_logout_the_old_cookie_opens_nothing() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let mut thief = postern.visitor(&lab, "laptop2");
    thief.steal_cookies(&owner);
    let page = owner.get(PAGE);
    let logout = Form::all(&page.body).into_iter().find(|form| form.action == "/logout");
    let logout = logout.expect("every page has a way out");
    assert_eq!(logout.method, "post");
    sent_to(&owner.submit(PAGE, &logout), "/login");
    sent_to(&owner.get(PAGE), "/login");
    sent_to(&thief.get(PAGE), "/login");
}

#[test]
fn nobody_on_the_internet_reaches_the_admin_page() {
    let lab = Lab::new();
    let _postern = router(&lab, true);
    lab.hostile_provider();
    for to in [[198, 51, 100, 2], [192, 168, 1, 1]] {
        let answer = Visitor::new(&lab.host("attacker"), to).try_request("GET", "/", "", &[]);
        assert!(answer.is_err(), "{to:?} answered the attacker: {answer:?}");
    }
    // The provider's own router, on the same cable, by IPv6.
    for to in ["[2001:db8:2::2]", "[2001:db8:1::1]", "[fe80::ff:fe00:2%25customer]"] {
        let answer = lab.host("internet").run(&["curl", "-sS", "-m", "2", "-g", &format!("http://{to}/")]);
        assert!(!answer.ok(), "{to} answered the provider: {answer:?}");
    }
    let listens = lab.router().ok(&["ss", "-Hltn", "sport", "=", ":80"]);
    for address in ["fe80::ff:fe00:2", "198.51.100.2", "2001:db8:2::2", "0.0.0.0:80", "[::]:80", "*:80"] {
        assert!(
            !listens.lines().any(|line| line.contains(&format!(" {address}"))),
            "it listens outside: {listens}"
        );
    }
    assert!(listens.contains("192.168.1.1:80"), "{listens}");
    assert_eq!(Visitor::new(&lab.host("phone"), [192, 168, 1, 1]).get("/login").status, 200);
}

#[test]
fn the_network_does_not_notice_when_the_web_process_dies() {
    let lab = Lab::new();
    let mut postern = router(&lab, true);
    let kind = lab::Kind::Udp(7000);
    let _server = lab.host("server1").echo(&[kind]);
    let flow = lab.host("laptop1").flow_at(kind, lab::address("server1"), 200);
    flow.wait_answers(100);
    postern.start_web(&lab);
    flow.wait_answers(100);
    assert!(flow.lost(Duration::from_millis(500)).is_empty(), "{}", flow.tail());
    logged_in(&lab, &postern);
}

/// Entries that are alive, of which none may be given up for another; as many as fit of so many.
#[track_caller]
fn remember(lab: &Lab, server: &str, count: usize) {
    let entry = |n: usize| {
        let (device, port) = (2 + n % 250, 1024 + n / 250);
        format!(
            "-A -t 600 -u SEEN_REPLY,ASSURED -p udp -s 192.168.1.{device} -d {server} --sport {port} --dport 443\n"
        )
    };
    // In parts: a busy machine needs minutes for all. The last ones do not fit any more.
    for first in (0..count).step_by(20_000) {
        let part: String = (first..count.min(first + 20_000)).map(entry).collect();
        lab.router().write("/run/lab/entries", part);
        if !lab.router().run(&["conntrack", "-R", "/run/lab/entries"]).ok() {
            return;
        }
    }
}

/// No entry more has room; `number` tells apart how often that was done: an old one may have left since.
#[track_caller]
fn fill_the_connection_table(lab: &Lab, number: u8) {
    let room = lab.router().ok(&["cat", "/proc/sys/net/netfilter/nf_conntrack_max"]);
    let room: usize = room.trim().parse().expect("a number");
    let known: usize = lab.router().ok(&["conntrack", "-C"]).trim().parse().expect("a number");
    remember(lab, &format!("203.0.113.{number}"), room.saturating_sub(known) + 1_000);
}

#[test]
fn the_page_answers_the_home_though_the_connection_table_is_full_of_live_connections() {
    let lab = Lab::new();
    let postern = router(&lab, true);
    let mut owner = logged_in(&lab, &postern);
    let router = lab::address("router");
    let _ports = lab.router().echo(&[lab::Kind::Tcp(8081)]);
    let home = lab.host("laptop1");
    assert_eq!(
        home.probe(lab::Kind::Tcp(8081), "192.168.1.1".parse::<std::net::Ipv4Addr>().unwrap()).answered,
        1
    );
    fill_the_connection_table(&lab, 100);
    assert_eq!(owner.get(PAGE).status, 200, "the page answers");
    fill_the_connection_table(&lab, 101);
    // What is tracked does not: the table is full, and so it would be with the page.
    let other = home.probe(lab::Kind::Tcp(8081), "192.168.1.1".parse::<std::net::Ipv4Addr>().unwrap());
    assert_eq!(other.answered, 0, "another port of the router: {other:?}");
    for chain in ["zone", "answers"] {
        lab.router().ok(&["nft", "flush", "chain", "inet", "postern", chain]);
    }
    // An entry that ends in between leaves room for one: the table is filled again then.
    let shut_out = (102..112).any(|number| {
        fill_the_connection_table(&lab, number);
        owner.try_request("GET", PAGE, "", &[]).is_err()
    });
    assert!(shut_out, "without the rules it would not answer");
    postern.ok(&["mend"]);
    assert_eq!(owner.get(PAGE).status, 200, "with them again");
    assert!(lab.host("attacker").knock(lab::Kind::Tcp(80), router).silent(), "nobody else gets in by that");
}
