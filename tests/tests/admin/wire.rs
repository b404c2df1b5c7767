//! Byte for byte: requests that are none, logins that are none, lines that would be forged.

use std::time::Duration;

use lab::{Heard, Kind, Lab, Said, Talk, address, figures};

use crate::scene::{TOKEN, cookie, logged_in, post, router};

const PAGE: &str = "/security/vpn-passthrough";
const PPTP: &str = "passthrough.pptp.enabled";

/// Requests that no well-behaved client sends. `hidden` is a whole request in the body of some.
fn malformed(hidden: &str) -> Vec<String> {
    let mut all = Vec::new();
    let get = |line: &str, more: &str| format!("{line}\r\nHost: 192.168.1.1\r\n{more}\r\n");
    for line in [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / HTTP/1.1x",
        "GET / HTTP/2.0",
        "GET / HTTP/9.9",
        "GET / HTTP/1.",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET / HTTP/1.1\r\nx",
        "G\0ET / HTTP/1.1",
        "GE T / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET \t/ HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET x HTTP/1.1",
        "GET ? HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT 192.168.1.1:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://evil.example/ HTTP/1.1",
        "GET //evil.example/ HTTP/1.1",
        "get / HTTP/1.1",
        "GET /% HTTP/1.1",
        "{} / HTTP/1.1",
        "PRI * HTTP/2.0",
        "TRACE / HTTP/1.1",
        "PROPFIND / HTTP/1.1",
        "",
        "\0",
        "SSH-2.0-x",
        "EHLO x",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
        "GET / HTTP/1.1\nX: y",
        "GET / HTTP/1.1\rX: y",
    ] {
        all.push(get(line, ""));
    }
    for header in [
        "X : y",
        "X\t: y",
        "X",
        ":",
        ": y",
        " X: y",
        "\tX: y",
        "X: y\r\n  folded",
        "X: y\r\n\tfolded",
        "X\0: y",
        "X: \0",
        "X: \x01",
        "X(: y",
        "X@: y",
        "\u{e4}: y",
        "X: y\rZ: z",
        "Host: evil.example",
        "Host: 192.168.1.1",
        "host:",
        "Host: 192.168.1.1, evil.example",
        "X: y\r\nX : y",
        "\"X\": y",
        "X{: y",
        "X}: y",
        "X,: y",
        "X/: y",
        "X[: y",
        "X: \x7f",
    ] {
        all.push(get("GET /login HTTP/1.1", &format!("{header}\r\n")));
        all.push(get("POST /login HTTP/1.1", &format!("Content-Length: 0\r\n{header}\r\n")));
    }
    let length = hidden.len();
    for framing in [
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: {length}, 0"),
        "Content-Length: +0".into(),
        "Content-Length: -1".into(),
        "Content-Length: 0x0".into(),
        "Content-Length: 0 0".into(),
        "Content-Length: 0;".into(),
        "Content-Length: 00x".into(),
        "Content-Length:".into(),
        "Content-Length: 1e1".into(),
        "Content-Length: 18446744073709551616".into(),
        "Content-Length: 99999999999999999999999999".into(),
        "Content-Length: \u{b2}".into(),
        "Content-Length : 0".into(),
        "Content-Length\t: 0".into(),
        "Content-Length: 0\r\n 1".into(),
        "Content-Length: 0\r\nTransfer-Encoding: chunked".into(),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        "Transfer-Encoding: xchunked".into(),
        "Transfer-Encoding: chunked, identity".into(),
        "Transfer-Encoding: identity, chunked, identity".into(),
        "Transfer-Encoding: gzip, chunked, chunked, x".into(),
        "Transfer-Encoding: \x0bchunked".into(),
        "Transfer-Encoding: chunked\x0b".into(),
        "Transfer-Encoding : chunked".into(),
        "Transfer-Encoding\t: chunked".into(),
        "Transfer-Encoding: \"chunked\"".into(),
        "Transfer-Encoding: chunk".into(),
        "Transfer-Encoding: chunked;x".into(),
        "Transfer-Encoding: identity".into(),
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x".into(),
        "Transfer-Encoding:\r\n chunked".into(),
        "Transfer_Encoding: chunked\r\nContent-Length: 0".into(),
        "X: y\nTransfer-Encoding: chunked".into(),
        "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0".into(),
        "Content-Length: 0\nContent-Length: 9".into(),
    ] {
        for method in ["GET", "POST", "HEAD"] {
            all.push(format!(
                "{}0\r\n\r\n{hidden}",
                get(&format!("{method} /login HTTP/1.1"), &format!("{framing}\r\n"))
            ));
        }
    }
    let chunked = |body: &str| {
        format!(
            "{}{body}{hidden}",
            get(
                "POST /login HTTP/1.1",
                "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n"
            )
        )
    };
    for body in [
        "x\r\n\r\n",
        "-1\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "ffffffffffffffff\r\na",
        "fffffffffffffffff\r\na",
        "10000000000000000\r\na",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1\na\n0\n\n",
        "1;\r\na\r\n0\r\n\r\n",
        "1;x=\"\n\"\r\na\r\n0\r\n\r\n",
        "1;\n\r\na\r\n0\r\n\r\n",
        "0;\x01\r\n\r\n",
        "0\r\nX: y\r\nContent-Length: 9\r\n\r\n",
        "0\r\n\r",
        "\r\n0\r\n\r\n",
        "1\r\n\r\n",
        "0_1\r\na\r\n0\r\n\r\n",
        "1\x0b\r\na\r\n0\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "\u{b2}\r\na\r\n0\r\n\r\n",
    ] {
        all.push(chunked(body));
    }
    all.push(chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(40_000))));
    all.push(chunked(&format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(40_000))));
    for (count, size) in [(101, 1), (1000, 1), (1, 17_000), (1, 200_000), (90, 300), (20_000, 8)] {
        let headers: String = (0..count).map(|n| format!("X{n}: {}\r\n", "y".repeat(size))).collect();
        all.push(get("GET /login HTTP/1.1", &headers));
        all.push(get("POST /login HTTP/1.1", &headers));
    }
    for size in [17_000, 70_000, 1_000_000] {
        all.push(get(&format!("GET /{} HTTP/1.1", "a".repeat(size)), ""));
        all.push(get(&format!("GET /?{} HTTP/1.1", "a".repeat(size)), ""));
        all.push(get(&format!("{} / HTTP/1.1", "A".repeat(size)), ""));
        all.push(get("GET / HTTP/1.1", &format!("{}: y\r\n", "X".repeat(size))));
        all.push("\r\n".repeat(size / 2));
    }
    // No Host, and in the oldest words.
    all.extend(
        ["GET / HTTP/1.1\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET /login HTTP/0.9\r\n\r\n"]
            .map(str::to_owned),
    );
    let fields = format!("token={TOKEN}&password=x");
    for body in [
        format!("{fields}&password=y"),
        format!("{fields}&token={TOKEN}"),
        format!("{fields}&x=y"),
        format!("{fields}&password"),
        format!("{fields}&password%00=y"),
        format!("{fields};password=y"),
        format!("password[]=x&token={TOKEN}"),
        format!("password=%&token={TOKEN}"),
        format!("password=%zz&token={TOKEN}&"),
        format!("password=%00&token={TOKEN}"),
        format!("password=%ff&token={TOKEN}"),
        format!("token={TOKEN}"),
        "{\"password\":\"x\"}".into(),
        "&".repeat(60_000),
        "=".repeat(60_000),
        "a&".repeat(30_000),
        "a=b&".repeat(100_000),
    ] {
        all.push(post("/login", &format!("Cookie: postern-form={TOKEN}\r\n"), &body));
        all.push(post("/claim", &format!("Cookie: postern-form={TOKEN}\r\n"), &body));
    }
    all
}

#[test]
fn what_is_no_request_is_refused_and_nothing_that_is_hidden_in_it_is_done() {
    let lab = Lab::new();
    let postern = router(&lab);
    let mut owner = logged_in(&lab, &postern);
    let form = owner.form(PAGE, PPTP).tick(PPTP, true);
    // What is hidden would switch PPTP on, with the owner's own cookie and token.
    let hidden = post(PAGE, &format!("{}Origin: http://192.168.1.1\r\n", cookie(&owner)), &form.body());
    let visitor = lab.host("laptop1");
    let all = malformed(&hidden);
    assert!(all.len() >= 300, "{}", all.len());
    // Sixteen connections are what one address may have.
    let talk =
        Talk { limit_ms: 15_000, ..Talk::new(12, all.iter().map(|text| Said::new(text.as_str())).collect()) };
    let heard = visitor.talk(&talk, Duration::from_secs(240));
    assert_eq!(postern.ok(&["get", PPTP]).trim(), "false", "a hidden request was carried out");
    let mut counts = std::collections::BTreeMap::new();
    let mut taken = Vec::new();
    for one in &heard {
        let short: String = all[one.n].chars().filter(|c| *c != '\r').take(120).collect();
        assert!(one.statuses.iter().all(|status| *status < 500), "{short}: {:?}", one.statuses);
        let kind = one.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join("+");
        if one.statuses.iter().any(|status| *status < 400) {
            taken.push(format!("{kind} {short:?}"));
        }
        *counts.entry(kind).or_insert(0) += 1;
        guarded(one, &short);
    }
    println!("answered otherwise than by a refusal:\n{}", taken.join("\n"));
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_wire",
        &format!("{} malformed requests: answered {counts:?}; hidden requests carried out: 0", all.len()),
    );
    assert!(taken.len() <= 4, "{} were taken:\n{}", taken.len(), taken.join("\n"));
    // And plainly it is done: so it was the framing.
    let plain = visitor.talk(&Talk::new(1, vec![Said::new(hidden)]), Duration::from_secs(30));
    assert_eq!((plain[0].status(), postern.ok(&["get", PPTP]).trim()), (303, "true"), "{:?}", plain[0]);
}

/// Every answer that has a body carries the headers; what hyper answers by itself has none.
#[track_caller]
fn guarded(heard: &Heard, what: &str) {
    if heard.statuses.is_empty() || heard.text.contains("\r\ncontent-length: 0\r\n") {
        return;
    }
    let policy = heard.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'"), "{what}: {:?}", heard.text);
    assert_eq!(heard.header("x-content-type-options"), Some("nosniff"), "{what}");
}

#[test]
fn nothing_but_the_cookie_of_a_live_login_opens_a_page() {
    let lab = Lab::new();
    let postern = router(&lab);
    let mut owner = logged_in(&lab, &postern);
    let value = owner.cookies().iter().find(|(name, _)| name == "postern").expect("a login").1.clone();
    let laptop = lab.host("laptop1");
    let ask = |headers: &[String]| {
        let said = |more: &String| {
            Said::new(format!("GET {PAGE} HTTP/1.1\r\nHost: 192.168.1.1\r\n{more}Connection: close\r\n\r\n"))
        };
        laptop.talk(&Talk::new(8, headers.iter().map(said).collect()), Duration::from_secs(60))
    };
    let right = format!("Cookie: postern={value}\r\n");
    assert_eq!(ask(std::slice::from_ref(&right))[0].status(), 200, "the probe");
    let (first, rest) = value.split_at(1);
    let swapped =
        value.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
    let swapped: String = swapped.collect();
    let cookies = [
        String::new(),
        "postern=".into(),
        "postern".into(),
        format!("postern={rest}"),
        format!("postern={first}"),
        format!("postern={value}A"),
        format!("postern=A{value}"),
        format!("postern={swapped}"),
        format!("postern={value}={value}"),
        format!("postern={value} x"),
        format!("Postern={value}"),
        format!("POSTERN={value}"),
        format!("postern[]={value}"),
        format!("$postern={value}"),
        format!("__Host-postern={value}"),
        format!("__Secure-postern={value}"),
        format!("postern-form={value}"),
        format!("session={value}"),
        format!("postern=x; postern={value}x"),
        "postern=AAAAAAAAAAAAAAAAAAAAAA".into(),
        "postern=0".into(),
        "postern=1".into(),
        "postern=-1".into(),
        "postern=null".into(),
        "postern=true".into(),
        "postern=admin".into(),
        "postern=../postern".into(),
        "postern=%00".into(),
        format!("postern={}", "A".repeat(8000)),
        "postern='%20or%201=1--".into(),
        "postern={\"login\":{\"ticket\":\"x\"}}".into(),
        format!("postern={}", "0".repeat(64)),
    ];
    let mut cases: Vec<String> = cookies
        .iter()
        .map(|cookie| if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") })
        .collect();
    cases.extend([
        format!("Authorization: Bearer {value}\r\n"),
        format!("Authorization: Basic {value}\r\n"),
        format!("Cookie2: postern={value}\r\n"),
        format!("X-Session: {value}\r\n"),
        format!("Set-Cookie: postern={value}\r\n"),
        format!("X-Forwarded-Cookie: postern={value}\r\n"),
    ]);
    for heard in ask(&cases) {
        assert_eq!(heard.status(), 303, "{} opens it: {:?}", cases[heard.n], heard.text);
        assert!(heard.header("location").is_some_and(|to| to.starts_with("/login")), "{}", cases[heard.n]);
    }
    // A cookie that a visitor has chosen beforehand is not his after the login.
    let chosen = post(
        "/login",
        &format!("Cookie: postern=AAAAAAAAAAAAAAAAAAAAAA; postern-form={TOKEN}\r\n"),
        &format!("token={TOKEN}&password={}", lab::PASSWORD.replace(' ', "+")),
    );
    assert_eq!(laptop.talk(&Talk::new(1, vec![Said::new(chosen)]), Duration::from_secs(60))[0].status(), 303);
    assert_eq!(
        ask(&["Cookie: postern=AAAAAAAAAAAAAAAAAAAAAA\r\n".into()])[0].status(),
        303,
        "a session was fixed"
    );
    // Five logins, of which the owner ends all others: within a second they are dead, and his is not.
    let others: Vec<_> = (0..4).map(|_| logged_in(&lab, &postern)).collect();
    let alive = |visitor: &lab::Visitor| ask(&[cookie(visitor)])[0].status() == 200;
    assert!(others.iter().all(alive), "five logins live");
    let listed = owner.get("/system/account").body.matches("/system/account/end\"").count();
    assert_eq!(listed, 5, "four and the one of the chosen cookie are listed beside his own");
    assert_eq!(owner.press("/system/account", "/system/account/end-others").status, 303);
    assert!(alive(&owner) && !others.iter().any(alive), "they are ended");
    // And so it is with a new password, and at the logout.
    let other = logged_in(&lab, &postern);
    let form = owner.form("/system/account", "old").fill("old", lab::PASSWORD);
    let form = form.fill("password", "another good password").fill("repeat", "another good password");
    assert_eq!(owner.submit("/system/account", &form).status, 303);
    let mine = cookie(&owner);
    assert!(
        !alive(&other) && ask(&[right])[0].status() == 303,
        "the old ones are dead, the cookie of before too"
    );
    assert!(alive(&owner));
    assert_eq!(owner.press("/", "/logout").status, 303);
    assert_eq!(ask(&[mine])[0].status(), 303, "a cookie lives on after the logout");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_sessions",
        &format!("{} abuses of a session: 0 accepted", cases.len() + 9),
    );
}

#[test]
fn no_line_of_a_log_is_forged_by_what_somebody_types() {
    const FORGED: &str = "FORGED";
    let lab = Lab::new();
    let postern = router(&lab);
    let mut owner = logged_in(&lab, &postern);
    let begins = |text: &str| {
        text.lines().any(|line| line.starts_with(FORGED) || line.starts_with("<6>FORGED"))
            || text.contains('\u{1b}')
    };
    // The probe sees a forged line and an escape.
    assert!(begins("x\nFORGED") && begins("\u{1b}[2J") && !begins("x FORGED"));
    let traps: Vec<String> =
        ["\r\n", "\n", "\r", "\u{1b}[2J\u{1b}[H", "\u{85}", "\u{2028}", "\x0b", "\x0c", "\0\n", "\n<6>"]
            .iter()
            .map(|trap| format!("a{trap}{FORGED} b"))
            .collect();
    let mut typed = 0;
    for trap in &traps {
        // The page, a field that only its form has, the field with the trap, and one that must be filled, too.
        for (path, only, field, more) in [
            ("/tools", "target", "target", None),
            ("/network/devices", "address", "name", Some(("mac", "02:00:00:00:01:65"))),
            ("/network/devices", "address", "mac", Some(("name", "x"))),
            ("/security/forwards", "what", "name", Some(("to", "192.168.1.101"))),
            ("/security/forwards", "what", "to", Some(("name", "x"))),
            ("/system/backup", "text", "text", None),
        ] {
            let form = owner.form(path, only).fill(field, trap);
            let form = more.iter().fold(form, |form, (name, value)| form.fill(name, value));
            let answer = owner.submit(path, &form);
            assert!(answer.status < 500, "{path} {field}: {}", answer.status);
            typed += 1;
        }
        let mut header = String::new();
        for name in ["User-Agent", "Referer", "X-Forwarded-For", "Accept-Language"] {
            header += &format!("{name}: {}\r\n", trap.replace(['\r', '\n', '\0'], "\\n"));
        }
        let said = Said::new(post(
            "/login",
            &format!("Cookie: postern-form={TOKEN}\r\n{header}"),
            &format!("token={TOKEN}&password=x"),
        ));
        let _ = lab.host("laptop2").talk(&Talk::new(1, vec![said]), Duration::from_secs(30));
        typed += 1;
    }
    for (what, text) in [
        ("the daemon's log", postern.daemon_said()),
        ("the web process's log", postern.web_said()),
        ("the journal", postern.ok(&["journal"])),
        ("the history", postern.ok(&["history"])),
        ("the status", postern.ok(&["status"])),
    ] {
        assert!(!begins(&text), "{what} has a forged line:\n{text}");
    }
    let journal = owner.get("/system/journal/download").body;
    assert!(!begins(&journal), "{journal}");
    assert!(typed >= 60, "{typed}");
}

#[test]
fn what_is_typed_is_never_a_program() {
    let lab = Lab::new();
    let postern = router(&lab);
    let mut owner = logged_in(&lab, &postern);
    let canary = "/run/lab/canary";
    // The probe sees that somebody was here.
    lab.router().ok(&["sh", "-c", &format!("touch {canary} && rm {canary}")]);
    let starts = ["", "127.0.0.1", "x", "-", "--", "\""];
    let cores = [
        format!(";touch {canary}"),
        format!("|touch {canary}"),
        format!("&touch {canary}&"),
        format!("`touch {canary}`"),
        format!("$(touch {canary})"),
        format!("\ntouch {canary}\n"),
        format!("\r\ntouch {canary}"),
        format!("\0touch {canary}"),
        format!("';touch {canary};'"),
        format!("\";touch {canary};\""),
        format!("||touch {canary}"),
        format!("&&touch {canary}"),
        format!("%0atouch {canary}"),
        format!("${{IFS}}touch${{IFS}}{canary}"),
        format!("{{touch,{canary}}}"),
        format!(">{canary}"),
        format!("<(touch {canary})"),
        "-f".into(),
        "--interactive".into(),
        "-oProxyCommand=x".into(),
        "@/etc/passwd".into(),
        "file:///etc/passwd".into(),
        "/etc/passwd".into(),
    ];
    let payloads: Vec<String> =
        cores.iter().flat_map(|core| starts.map(|start| format!("{start}{core}"))).collect();
    let token = owner.form("/tools", "target");
    let mut all = Vec::new();
    for payload in &payloads {
        for tool in ["ping", "trace", "lookup"] {
            let form = token.clone().fill("target", payload);
            let body = form.body();
            let body = if body.contains("tool=ping") {
                body.replace("tool=ping", &format!("tool={tool}"))
            } else {
                body
            };
            all.push(Said::new(post("/tools", &cookie(&owner), &body)));
        }
    }
    assert!(all.len() >= 400, "{}", all.len());
    let count = all.len();
    let heard =
        lab.host("laptop1").talk(&Talk { limit_ms: 30_000, ..Talk::new(8, all) }, Duration::from_secs(120));
    assert!(
        heard.iter().all(|one| [303, 400, 422, 502].contains(&one.status())),
        "{:?}",
        heard.iter().map(Heard::status).collect::<std::collections::BTreeSet<_>>()
    );
    assert!(!lab.router().run(&["ls", canary]).ok(), "a program was started");
    assert_eq!(postern.web_status("Seccomp"), "2", "and the web process could not");
    println!("{count} payloads in the tools: 0 programs");
}

#[test]
fn nothing_answers_upnp_or_asks_for_a_port_to_be_opened() {
    let lab = Lab::new();
    let _postern = router(&lab);
    lab.hostile_provider();
    let _ours = lab.router().echo(&[Kind::Tcp(8081)]);
    let home: std::net::Ipv4Addr = [192, 168, 1, 1].into();
    assert_eq!(lab.host("laptop1").probe(Kind::Tcp(8081), home).answered, 1, "the probe");
    let kinds = [
        Kind::Udp(1900),
        Kind::Udp(5350),
        Kind::Udp(5351),
        Kind::Tcp(1900),
        Kind::Tcp(2869),
        Kind::Tcp(5000),
        Kind::Tcp(49152),
    ];
    for kind in kinds {
        assert_eq!(lab.host("laptop1").knock(kind, home).answered, 0, "{kind} at home");
        assert_eq!(
            lab.host("attacker").knock(kind, address("router")).answered,
            0,
            "{kind} from the internet"
        );
    }
    let listens = lab.router().ok(&["ss", "-Hlntu"]);
    let ports: std::collections::BTreeSet<&str> = listens
        .lines()
        .filter_map(|line| line.split_whitespace().nth(4)?.rsplit_once(':').map(|(_, port)| port))
        .collect();
    assert!(["1900", "5350", "5351", "2869", "5000"].iter().all(|port| !ports.contains(port)), "{ports:?}");
    // The name server, DHCP, the page and the probe.
    assert!(ports.is_superset(&["53", "67", "80", "8081"].into()), "{listens}");
}
