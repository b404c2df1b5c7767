//! Devices whose names are traps: by real DHCP packets, and then every page in a real browser.

use std::time::Duration;

use lab::{Browser, Lab, PASSWORD, figures, hex};
use serde_json::json;

use crate::scene::{kilobytes, logged_in, router};

/// Every page that somebody who is logged in can open.
const PAGES: [&str; 19] = [
    "/",
    "/vpn-sessions",
    "/diagnose",
    "/tools",
    "/diagnose/self-test",
    "/network/internet",
    "/network/ports",
    "/network/local",
    "/network/devices",
    "/security/vpn-passthrough",
    "/security/vpn-passthrough/rules",
    "/security/firewall",
    "/security/forwards",
    "/security/helpers",
    "/system/about",
    "/system/history",
    "/system/access",
    "/system/journal",
    "/system/account",
];

/// What may stand in a name: bytes, not all of them text.
fn polyglots() -> Vec<Vec<u8>> {
    let cores: [&[u8]; 25] = [
        b"<script>window.pwned=1</script>",
        b"<img src=x onerror=window.pwned=1>",
        b"<svg onload=window.pwned=1>",
        b"<iframe srcdoc='<script>parent.pwned=1</script>'>",
        b"javascript:window.pwned=1",
        b"<base href=//evil.example>",
        b"<meta http-equiv=refresh content=0>",
        b"<form action=//evil.example>",
        b"<style>*{display:none}</style>",
        b"<b>bold</b>",
        b"</title><b>",
        b"</textarea><b>",
        b"--><b>",
        b"]]><b>",
        b"{{7*7}}",
        b"${7*7}",
        b"&lt;b&gt;&#60;b&#62;",
        b"\xff\xfe<b>",
        b"\xc0\xbcb>",
        b"\xe2\x80\xae<b>",
        b"\x1b[2J<b>",
        b"\0<b>",
        b"\r\n<b>\r\n",
        b"a.<b>.b",
        b"wpad",
    ];
    let around: [&[u8]; 8] =
        [b"", b"x", b"\"", b"'", b"\">", b"'>", b"x\" onmouseover=\"window.pwned=1", b"<!--"];
    cores.iter().flat_map(|core| around.map(|start| [start, core].concat())).collect()
}

/// One device a line: its name in every option that has one (RFC 2132: 12, 60, 61; RFC 4702: 81).
fn guests() -> String {
    let guest = |(n, name): (usize, Vec<u8>)| {
        // Every fourth has an honest name beside the traps: these are shown. Option 81 would take its place.
        let honest = n % 4 == 3;
        let host = if honest { format!("guest-{n}").into_bytes() } else { name.clone() };
        let client = [&[0][..], &(n as u32).to_be_bytes(), &name].concat();
        let whole = [&[0x04, 0, 0][..], &name].concat();
        let all = [(12, &host), (60, &name), (61, &client), (81, &whole)];
        let options: Vec<_> = all
            .into_iter()
            .filter(|(number, _)| !honest || *number != 81)
            .map(|(number, bytes)| json!([number, hex(bytes)]))
            .collect();
        let address = format!("192.168.1.{}", 10 + n + usize::from(n >= 90) * 20);
        json!({ "address": address, "options": options }).to_string() + "\n"
    };
    polyglots().into_iter().enumerate().map(guest).collect()
}

/// What is no element of ours in the page that is open, and whether a script of somebody else's has run.
fn foreign(browser: &Browser) -> String {
    let script = "const odd = [];
        if (window.pwned) odd.push('a script ran');
        for (const e of document.querySelectorAll('*')) {
            const tag = e.tagName.toLowerCase();
            if (['img', 'iframe', 'object', 'embed', 'base', 'style', 'b', 'video', 'audio'].includes(tag)) odd.push(tag);
            if (tag === 'script' && !(e.getAttribute('src') || '').startsWith('/static/')) odd.push('script');
            if (tag === 'meta' && /refresh/i.test(e.getAttribute('http-equiv') || '')) odd.push('refresh');
            if (tag === 'form' && !(e.getAttribute('action') || '/').startsWith('/')) odd.push('form elsewhere');
            for (const a of e.attributes) {
                if (/^on/i.test(a.name) || /^\\s*javascript:/i.test(a.value)) odd.push(tag + ' ' + a.name);
            }
        }
        return odd.join(', ');";
    browser.script(script, &json!([])).as_str().unwrap_or_default().to_owned()
}

#[test]
fn two_hundred_devices_with_traps_for_names_add_nothing_to_any_page() {
    let lab = Lab::new();
    let postern = router(&lab);
    postern.set(&["local_network.dhcp.start=192.168.1.10", "local_network.dhcp.end=192.168.1.250"]);
    let guest = lab.host("laptop2");
    let all = guests();
    assert_eq!(all.lines().count(), 200);
    guest.write("/run/lab/guests", &all);
    let told = guest.run_for(&["postern-lab", "dhcp-guest", "/run/lab/guests"], Duration::from_secs(120));
    let granted = told.out.matches("\"granted\":true").count();
    assert!(granted >= 190, "{granted} of 200 got an address: {}", told.err);

    let browser = Browser::start(&lab.host("laptop1"));
    // The probe sees a name that is not escaped: the element, and that its script ran.
    lab.host("laptop1").write(
        "/run/lab/trap.html",
        "<!doctype html><title>x</title><p><img src=x onerror=window.pwned=1><b>x</b>",
    );
    browser.open("file:///run/lab/trap.html");
    let seen = lab::wait::until(lab::wait::SOON, || {
        Some(foreign(&browser)).filter(|odd| odd.contains("a script ran"))
    });
    let seen = seen.expect("the trap is seen");
    assert!(["img", "img onerror", "b"].iter().all(|odd| seen.contains(odd)), "{seen}");
    drop(browser.complaints());

    browser.open("http://192.168.1.1/login");
    browser.wait_for("input[name=password]");
    browser.type_into("input[name=password]", PASSWORD);
    browser.submit("input[name=password]");
    browser.wait_for("form[action='/logout']");
    for page in PAGES {
        browser.open(&format!("http://192.168.1.1{page}"));
        assert!(browser.shows("form[action='/logout']"), "{page} is not there: {}", browser.text("body"));
        assert_eq!(foreign(&browser), "", "{page}");
    }
    browser.open("http://192.168.1.1/network/devices");
    let text = browser.text("main");
    let shown = text.matches("guest-").count();
    let counted = browser.script("return document.querySelectorAll('[data-device]').length;", &json!([]));
    let devices = counted.as_u64().unwrap_or_default();
    assert!(devices >= 100 && shown >= 20, "{devices} devices, {shown} names are shown at all");
    let mut complaints = browser.complaints();
    complaints.retain(|line| !line.contains("Cross-Origin-Opener-Policy header has been ignored"));
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(!postern.daemon_said().contains('\u{1b}') && !postern.ok(&["journal"]).contains('\u{1b}'));
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_names",
        &format!(
            "200 devices with traps for names by DHCP ({granted} granted, {devices} on the page, {shown} with a name that dnsmasq took), {} \
             pages in Chromium: 0 foreign elements, 0 scripts, 0 reports",
            PAGES.len()
        ),
    );
}

/// Devices that somebody plays: as leases, with traps for names, and as neighbours.
const PLAYED: usize = 10_000;

/// As dnsmasq writes its leases; a name with a blank or the end of a line in it is none there.
fn leases() -> Vec<u8> {
    let names: Vec<Vec<u8>> =
        polyglots().into_iter().filter(|name| !name.iter().any(|byte| b" \r\n\0".contains(byte))).collect();
    let line = |n: usize| {
        let mac = format!("02:00:00:01:{:02x}:{:02x}", n / 256, n % 256);
        let head = format!("1795000000 {mac} 10.{}.{}.{} ", n / 65_536, n / 256 % 256, n % 256);
        [head.as_bytes(), &names[n % names.len()], b" *\n"].concat()
    };
    (0..PLAYED).flat_map(line).collect()
}

#[test]
fn ten_thousand_devices_with_traps_for_names_are_one_short_page() {
    let lab = Lab::new();
    let postern = router(&lab);
    let mut owner = logged_in(&lab, &postern);
    assert_eq!(owner.get("/network/devices").status, 200);
    let before = kilobytes(&postern.daemon_status("VmRSS"));
    lab.outer().write("/run/postern/state/programs/dnsmasq.leases", leases());
    // As the kernel remembers whoever has spoken on the port; those that it was told of are not thrown out for others.
    let neighbours: String = (0..PLAYED)
        .map(|n| {
            let last = format!("{:x}:{:x}", n / 256 + 1, n % 256);
            let mac = format!("02:00:00:02:{:02x}:{:02x}", n / 256, n % 256);
            format!("neigh replace 2001:db8:1::{last} lladdr {mac} dev lan0 nud stale extern_learn\n")
        })
        .collect();
    lab.router().ok_with(&["ip", "-batch", "-"], &neighbours);
    let known = lab.router().ok(&["ip", "-6", "neigh", "show", "dev", "lan0"]).lines().count();
    assert!(known >= PLAYED, "the kernel knows {known}");
    let mut times = Vec::new();
    let mut page = String::new();
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        let answer = owner.get("/network/devices");
        times.push(begun.elapsed().as_millis());
        assert_eq!(answer.status, 200);
        page = answer.body;
    }
    times.sort_unstable();
    let shown = page.matches("data-device=").count();
    assert!((1..=150).contains(&shown) && page.contains(" more devices."), "{shown} devices on the page");
    assert!(page.len() < 200 * 1024, "{} bytes", page.len());
    let more = kilobytes(&postern.daemon_status("VmRSS")).saturating_sub(before);
    assert!(more < 32 * 1024, "{more} KB more");
    for other in ["/", "/vpn-sessions", "/diagnose"] {
        assert_eq!(owner.get(other).status, 200, "{other}");
    }
    let browser = Browser::start(&lab.host("laptop1"));
    browser.open("http://192.168.1.1/login");
    browser.wait_for("input[name=password]");
    browser.type_into("input[name=password]", PASSWORD);
    browser.submit("input[name=password]");
    browser.wait_for("form[action='/logout']");
    browser.open("http://192.168.1.1/network/devices");
    assert_eq!(foreign(&browser), "");
    let text = browser.text("main");
    assert!(text.contains("<script>window.pwned=1</script>"), "as text: {}", &text[..text.len().min(300)]);
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_devices",
        &format!(
            "{PLAYED} leases with traps for names and {PLAYED} neighbours: the devices page in {} ms (worst of 20: {} ms), {shown} devices and how many more, \
             {} KB, 0 foreign elements in Chromium; daemon {more} KB more",
            times[times.len() / 2],
            times.last().copied().unwrap_or_default(),
            page.len() / 1024
        ),
    );
}
