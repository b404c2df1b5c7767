//! `/diagnose`: why a VPN does not work, in words, with what was seen and what was not, and the button that helps.

use std::net::IpAddr;

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use postern::door::messages::{
    Action, Diagnosis, Filter, Party, Request as Ask, Response as Answer, Session, Step,
};
use serde::Deserialize;

use crate::error::Problem;
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};

/// Path of the page.
pub const HERE: &str = "/diagnose";

#[derive(Template)]
#[template(path = "diagnose.html")]
struct DiagnosePage {
    chrome: Chrome,
    revision_now: i64,
    refresh: String,
    /// Address, what it is called, and whether it is meant.
    devices: Vec<(String, String, bool)>,
    chip: (&'static str, &'static str, &'static str),
    verdict: Diagnosis,
    /// The device that is asked about, or the one of the verdict.
    asked: String,
    /// The device, as it is called.
    device: String,
    server: String,
    server_name: Option<String>,
    drawing: Option<Drawing>,
}

/// The evidence, drawn.
struct Drawing {
    height: usize,
    bottom: usize,
    arrows: Vec<Arrow>,
    /// For who cannot see it.
    label: String,
}

struct Arrow {
    from: usize,
    to: usize,
    y: usize,
    text_x: usize,
    text_y: usize,
    what: String,
    seen: bool,
    /// The arrow's head.
    head: String,
}

/// What the address asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    device: String,
}

/// One verdict.
pub async fn show(admin: Admin, uri: Uri) -> Result<Response, Problem> {
    let asked: Asked = serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default();
    let device: Option<IpAddr> = asked.device.parse().ok();
    let Answer::Diagnosis(verdict) = admin.ask(Ask::Diagnose { device, measure: false }).await? else {
        return Err(Problem::Misunderstood("a diagnosis"));
    };
    let filter = Filter { limit: 200, ..Filter::default() };
    let Answer::Sessions(page) = admin.ask(Ask::Sessions { filter }).await? else {
        return Err(Problem::Misunderstood("sessions"));
    };
    let devices = devices(&page.sessions, &admin, device);
    let refresh = about(device);
    let page = DiagnosePage {
        revision_now: admin.status.revision,
        chrome: admin.chrome(HERE).await,
        refresh,
        devices,
        chip: match (verdict.cause.is_trouble(), verdict.steps.is_empty()) {
            (true, _) => ("differs", "\u{25b2}", "Something is wrong"),
            (false, false) => ("working", "\u{25cf}", "Works"),
            (false, true) => ("ready", "\u{25cb}", "Nothing to say yet"),
        },
        asked: device
            .or_else(|| verdict.device.as_ref().map(|device| device.address))
            .map_or_else(String::new, |device| device.to_string()),
        device: verdict.device.as_ref().map_or_else(|| "Device".to_owned(), |d| called(&d.name, d.address)),
        server: verdict.server.map_or_else(|| "Internet".to_owned(), |server| server.to_string()),
        server_name: verdict.server_name.clone(),
        drawing: (!verdict.steps.is_empty()).then(|| drawing(&verdict.steps)),
        verdict: *verdict,
    };
    Ok(html(StatusCode::OK, &page))
}

/// The page about this device.
fn about(device: Option<IpAddr>) -> String {
    device.map_or_else(|| HERE.to_owned(), |device| format!("{HERE}?device={device}"))
}

/// Whose way to its server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureForm {
    device: String,
}

/// Has the daemon measure with pings, which takes a second or a few, and shows what came of it.
pub async fn measure(admin: Admin, AdminForm(form): AdminForm<MeasureForm>) -> Result<Response, Problem> {
    let device: Option<IpAddr> = form.device.parse().ok();
    let Answer::Diagnosis(_) = admin.ask(Ask::Diagnose { device, measure: true }).await? else {
        return Err(Problem::Misunderstood("a diagnosis"));
    };
    Ok(see_other(&about(device)))
}

fn called(name: &Option<String>, address: IpAddr) -> String {
    name.clone().unwrap_or_else(|| address.to_string())
}

/// Every device that was seen to use a VPN, or to try.
fn devices(sessions: &[Session], admin: &Admin, asked: Option<IpAddr>) -> Vec<(String, String, bool)> {
    let blocked = admin.status.attempts.iter().map(|attempt| &attempt.device);
    let seen = sessions.iter().map(|session| &session.device).chain(blocked);
    choice(seen.map(|d| (d.address, d.name.clone())).collect(), asked)
}

/// Each address once, with its name if one is known.
fn choice(mut all: Vec<(IpAddr, Option<String>)>, asked: Option<IpAddr>) -> Vec<(String, String, bool)> {
    all.extend(asked.map(|address| (address, None)));
    // Of one address the entry with a name comes first, and stays.
    all.sort_by_key(|(address, name)| (*address, name.is_none()));
    all.dedup_by_key(|(address, _)| *address);
    let shown = |(address, name): (IpAddr, Option<String>)| {
        (address.to_string(), called(&name, address), Some(address) == asked)
    };
    all.into_iter().map(shown).collect()
}

fn drawing(steps: &[Step]) -> Drawing {
    let x = |party| match party {
        Party::Device => 70,
        Party::Router => 290,
        Party::Server => 510,
    };
    let name = |party| match party {
        Party::Device => "the device",
        Party::Router => "this router",
        Party::Server => "the server",
    };
    let arrows = steps.iter().enumerate().map(|(n, step)| {
        let (from, to, y) = (x(step.from), x(step.to), 62 + 34 * n);
        let back = if to > from { to - 9 } else { to + 9 };
        let head = format!("{to},{y} {back},{} {back},{}", y - 5, y + 5);
        Arrow {
            from,
            to,
            y,
            text_x: from.min(to) + 12,
            text_y: y - 7,
            what: step.what.clone(),
            seen: step.seen,
            head,
        }
    });
    let said = |step: &Step| {
        let seen = if step.seen { "seen" } else { "missing" };
        format!("{} to {}: {}, {seen}", name(step.from), name(step.to), step.what)
    };
    let bottom = 62 + 34 * steps.len();
    Drawing {
        height: bottom + 8,
        bottom,
        arrows: arrows.collect(),
        label: steps.iter().map(said).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use postern::door::messages::{Action, Cause, Diagnosis, Party, Step};

    use crate::testing::browser::Browser;
    use crate::testing::fake::verdict;

    #[tokio::test]
    async fn the_verdict_stands_with_its_evidence_and_its_button() {
        let mut browser = Browser::logged_in().await;
        browser.daemon.state().verdict = verdict();
        browser.open("/diagnose").await;
        assert_eq!(browser.status, StatusCode::OK);
        for part in [
            "do not arrive",
            "192.168.1.23",
            "203.0.113.20 is vpn.example.com",
            "Something is wrong",
            "none &#60;b&#62;, missing",
        ] {
            assert!(browser.body.contains(part), "{part}: {}", browser.body);
        }
        assert_eq!(browser.body.matches("class=\"seen\"").count(), 1);
        assert_eq!(browser.body.matches("class=\"missing\"").count(), 1);
        assert!(!browser.body.contains("<b>"));
        for (action, form) in [
            (Action::SwitchOn { key: "passthrough.pptp.enabled".into(), title: "PPTP".into() }, "/switch-on"),
            (Action::AllowDevice { mac: "3c:52:82:1a:0b:7f".into() }, "/allow-device"),
            (Action::EndSession { id: "pptp-1".into() }, "/vpn-sessions/end"),
            (Action::Mend, "/mend"),
            (Action::LookAgain, "/look-again"),
        ] {
            browser.daemon.state().verdict.action = Some(action);
            browser.open("/diagnose").await;
            let form = browser.forms().into_iter().find(|one| one.action == form).unwrap();
            browser.send(form.clone()).await;
            assert_eq!(browser.status, StatusCode::OK, "{}: {}", form.action, browser.body);
        }
    }

    #[test]
    fn a_device_that_is_asked_about_keeps_its_name() {
        let device = |last: u8, name: Option<&str>| ([192, 168, 1, last].into(), name.map(str::to_owned));
        let seen =
            vec![device(7, None), device(5, Some("Laptop")), device(7, Some("Phone")), device(3, None)];
        let all = super::choice(seen, Some([192, 168, 1, 5].into()));
        let all: Vec<_> = all.iter().map(|(a, n, meant)| (a.as_str(), n.as_str(), *meant)).collect();
        assert_eq!(
            all,
            [
                ("192.168.1.3", "192.168.1.3", false),
                ("192.168.1.5", "Laptop", true),
                ("192.168.1.7", "Phone", false)
            ]
        );
    }

    #[tokio::test]
    async fn pings_are_sent_on_a_click_and_never_by_looking() {
        let mut browser = Browser::logged_in().await;
        browser.open("/diagnose").await;
        assert!(!browser.body.contains("/diagnose/measure"), "there is nothing to measure");
        browser.daemon.state().verdict = Diagnosis { can_measure: true, ..verdict() };
        browser.open("/diagnose?device=192.168.1.23").await;
        assert_eq!(browser.daemon.state().measured, []);
        let form = browser.forms().into_iter().find(|form| form.action == "/diagnose/measure").unwrap();
        browser.send(form).await;
        assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/diagnose"));
        assert_eq!(browser.daemon.state().measured, [Some([192, 168, 1, 23].into())]);
        assert!(browser.body.contains("value=\"192.168.1.23\" selected"), "{}", browser.body);
        browser.daemon.state().verdict.action = Some(Action::SetMtu { bytes: 1400 });
        browser.open("/diagnose").await;
        assert!(browser.body.contains("class=\"button\" href=\"/network/internet\""));
        for (name, page) in [(Some("Work".to_owned()), "/security/forwards"), (None, "/security/firewall")] {
            browser.daemon.state().verdict.action = Some(Action::SeeForward { name });
            browser.open("/diagnose").await;
            assert!(browser.body.contains(&format!("class=\"button\" href=\"{page}\"")), "{page}");
        }
    }

    #[tokio::test]
    async fn a_device_is_asked_about_by_its_address_and_nothing_else() {
        let mut browser = Browser::logged_in().await;
        for (query, asked) in
            [("?device=192.168.1.23", true), ("?device=%3Cscript%3E", false), ("?device=&x", false)]
        {
            browser.open(&format!("/diagnose{query}")).await;
            assert_eq!(browser.status, StatusCode::OK);
            assert_eq!(browser.body.contains("value=\"192.168.1.23\" selected"), asked, "{query}");
            assert!(!browser.body.contains("<script"));
        }
        assert_eq!(browser.daemon.state().verdict.cause, Cause::NothingSeen);
        assert!(!browser.body.contains("Something is wrong"));
        browser.daemon.state().verdict.steps =
            vec![Step { from: Party::Device, to: Party::Server, what: "x".into(), seen: true }];
        browser.open("/diagnose").await;
        assert!(browser.body.contains("Works"));
    }
}
