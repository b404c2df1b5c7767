//! The admin page over HTTPS: real TLS from a laptop, by curl and openssl.

use std::time::Duration;

use lab::{Form, Host, Kind, Lab, PASSWORD, Postern, ROUTER_SETTINGS, Visitor, wait};

const ACCESS: &str = "/system/access";
const CERTIFICATE: &str = "/run/router.pem";

/// A router with an owner, its pages on plain HTTP.
fn router(lab: &Lab, environment: &[(&str, &str)]) -> Postern {
    let mut postern = lab.postern_with(environment);
    postern.claim();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.start_web(lab);
    postern
}

/// Ticks HTTPS as the owner does, over plain HTTP.
fn tick_https(lab: &Lab, postern: &Postern) -> Visitor {
    let mut owner = postern.visitor(lab, "laptop1");
    let login = owner.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(owner.submit("/login", &login).status, 303);
    let form = owner.form(ACCESS, "access.https").tick("access.https", true);
    let answer = owner.submit(ACCESS, &form);
    assert_eq!((answer.status, answer.header("location")), (303, Some(ACCESS)), "{}", answer.body);
    owner
}

/// Head and body of what a browser with these cookies is told.
fn curl(laptop: &Host, words: &[&str]) -> String {
    let jar = ["--cookie", "/run/jar", "--cookie-jar", "/run/jar"];
    let all =
        [&["curl", "--silent", "--show-error", "--include", "--max-time", "10"], &jar[..], words].concat();
    let output = laptop.run(&all);
    assert!(output.ok(), "{words:?}: {}", output.err);
    output.out
}

fn openssl(laptop: &Host, words: &[&str]) -> lab::Output {
    let all = [&["openssl", "s_client", "-connect", "192.168.1.1:443"][..], words].concat();
    laptop.run_with(&all, "")
}

#[test]
fn the_owner_switches_https_on_and_meets_the_certificate_that_was_shown_to_him() {
    let lab = Lab::new();
    let postern = router(&lab, &[]);
    let laptop = lab.host("laptop1");
    let mut visitor = postern.visitor(&lab, "laptop1");
    let before = postern.json(&["status"])["fingerprint"].as_str().expect("a fingerprint").to_owned();
    assert!(postern.ok(&["status"]).contains(&before), "the words tell it too");
    assert!(!openssl(&laptop, &[]).ok(), "HTTPS answers though it is off");
    drop(tick_https(&lab, &postern));

    // Plain HTTP leads there, and shows nothing.
    let led = wait::until(wait::SOON, || Some(visitor.get("/login")).filter(|answer| answer.status == 303));
    let led = led.expect("plain HTTP still shows the pages");
    assert_eq!(led.header("location"), Some("https://192.168.1.1/login"));
    assert!(led.header("set-cookie").is_none());

    // What the browser shows is what the owner was told, and it fits the address.
    let shown = laptop.ok(&["sh", "-c", &format!(
        "openssl s_client -connect 192.168.1.1:443 </dev/null 2>/dev/null | openssl x509 -out {CERTIFICATE} && \
         openssl x509 -in {CERTIFICATE} -noout -fingerprint -sha256 -ext subjectAltName"
    )]);
    assert!(shown.contains(&before) && shown.contains("IP Address:192.168.1.1"), "{shown}, not {before}");

    // By name and by number of the protocol.
    for (version, spoken) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false)] {
        let tried = openssl(&laptop, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert_eq!(tried.ok(), spoken, "{version}: {}{}", tried.out, tried.err);
        if !spoken {
            // It was the router that refused, by an alert, and not the laptop.
            assert!(tried.err.contains("SSL alert number"), "{}", tried.err);
        }
    }

    // A browser that trusts this one certificate and no other logs in, and with that confirms what is on trial.
    assert!(!postern.json(&["status"])["trial"].is_null(), "it is not on trial");
    let trusting = ["--cacert", CERTIFICATE];
    let page = curl(&laptop, &[&trusting[..], &["https://192.168.1.1/login"]].concat());
    assert!(
        page.contains("Set-Cookie: __Host-postern-form=")
            || page.contains("set-cookie: __Host-postern-form="),
        "{page}"
    );
    let form = Form::all(&page).into_iter().find(|form| form.has("password")).expect("a form");
    let body = form.fill("password", PASSWORD).body();
    let sent = curl(&laptop, &[&trusting[..], &["--data", &body, "https://192.168.1.1/login"]].concat());
    let cookie =
        sent.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: __host-postern="));
    let cookie = cookie.unwrap_or_else(|| panic!("no login: {sent}"));
    for word in ["HttpOnly", "SameSite=Strict", "Path=/", "Secure"] {
        assert!(cookie.contains(word) && !cookie.contains("Domain"), "{cookie}");
    }
    let page = curl(&laptop, &[&trusting[..], &["https://192.168.1.1/"]].concat());
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(postern.json(&["status"])["trial"].is_null(), "reaching the page by HTTPS confirms it");

    // The certificate outlives both processes.
    let mut postern = postern;
    postern.crash_daemon();
    postern.start_daemon();
    assert_eq!(postern.json(&["status"])["fingerprint"], before);
    let back = wait::until(wait::SOON, || {
        openssl(&laptop, &["-verify_return_error", "-CAfile", CERTIFICATE]).ok().then_some(())
    });
    assert!(back.is_some(), "after a restart another certificate is served");
}

#[test]
fn https_that_nobody_could_use_goes_off_again() {
    let lab = Lab::new();
    let postern = router(&lab, &[("POSTERN_TRIAL_SECONDS", "12")]);
    let mut visitor = postern.visitor(&lab, "laptop2");
    drop(tick_https(&lab, &postern));
    let led = wait::until(wait::SOON, || (visitor.get("/login").status == 303).then_some(()));
    assert!(led.is_some(), "plain HTTP still shows the pages");
    let back = wait::until(Duration::from_secs(60), || (visitor.get("/login").status == 200).then_some(()));
    assert!(back.is_some(), "the owner stays locked out");
    assert_eq!(postern.ok(&["get", "access.https"]).trim(), "false");
}

#[test]
fn https_whose_port_another_program_has_confirms_nothing_and_goes_off_again() {
    let lab = Lab::new();
    let postern = router(&lab, &[("POSTERN_TRIAL_SECONDS", "12")]);
    let taken = lab.router().echo(&[Kind::Tcp(443), Kind::Tcp(8443)]);
    let mut owner = tick_https(&lab, &postern);
    // The owner goes on, with his login, on new connections.
    assert_eq!(owner.get("/").status, 200, "plain HTTP leads to a port that is another program's");
    assert!(!postern.json(&["status"])["trial"].is_null(), "plain HTTP has confirmed HTTPS");
    let back = wait::until(Duration::from_secs(60), || {
        owner.get("/");
        (postern.ok(&["get", "access.https"]).trim() == "false").then_some(())
    });
    assert!(back.is_some(), "HTTPS stays on though nobody can use it");
    drop(taken);
}

#[test]
fn ports_that_change_places_are_followed_at_once() {
    let lab = Lab::new();
    let postern = router(&lab, &[]);
    postern.set(&["access.https=true"]);
    postern.ok(&["confirm"]);
    let laptop = lab.host("laptop1");
    let speaks = |port: &str| {
        laptop.run(&["curl", "-sk", "-o", "/dev/null", &format!("https://192.168.1.1:{port}/login")]).ok()
    };
    assert!(wait::until(wait::SOON, || speaks("443").then_some(())).is_some() && !speaks("80"));
    postern.set(&["access.port=443", "access.https_port=80"]);
    assert!(wait::until(wait::SOON, || (speaks("80") && !speaks("443")).then_some(())).is_some());
    postern.ok(&["confirm"]);
}

#[test]
fn who_is_silent_or_speaks_no_tls_keeps_no_one_out() {
    let lab = Lab::new();
    let postern = router(&lab, &[]);
    postern.set(&["access.https=true"]);
    postern.ok(&["confirm"]);
    let (laptop, other) = (lab.host("laptop1"), lab.host("laptop2"));
    let up = wait::until(wait::SOON, || openssl(&other, &[]).ok().then_some(()));
    assert!(up.is_some(), "HTTPS does not answer");
    // A slow machine may need longer than the others are borne with: then it is asked once more, while others hold it.
    let said = held_by_others(&lab, &laptop, &other).or_else(|_| held_by_others(&lab, &laptop, &other));
    assert_eq!(said, Ok(()), "another visitor is kept out");
}

/// What another visitor is told while one visitor holds all that he can.
#[track_caller]
fn held_by_others(lab: &Lab, laptop: &Host, other: &Host) -> Result<(), String> {
    // More than one visitor may hold, each of which says nothing, or something else than a handshake.
    let held: Vec<_> = (0..28)
        .map(|n| {
            let says =
                if n % 4 != 0 { "sleep 60" } else { "(printf 'GET / HTTP/1.1\\r\\n\\r\\n'; sleep 60)" };
            laptop.spawn(&["bash", "-c", &format!("exec 3<>/dev/tcp/192.168.1.1/443; {says} >&3")])
        })
        .collect();
    let established = || {
        let lines = lab.router().ok(&["ss", "-Htn", "state", "established", "sport = :443"]);
        (lines.lines().count() >= 16).then_some(())
    };
    assert!(
        wait::until(wait::SOON, established).is_some(),
        "nobody holds anything, so it proves nothing:\n{}",
        lab.router().ok(&["ss", "-tan"])
    );
    // Sooner than the first of them is given up.
    let answer =
        other.run(&["curl", "-sk", "--max-time", "4", "-o", "/dev/null", "https://192.168.1.1/login"]);
    drop(held);
    if answer.ok() { Ok(()) } else { Err(answer.err) }
}
