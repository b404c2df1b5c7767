use axum::http::StatusCode;
use postern::door::messages::{Assignment, RefusalKind};

use super::HERE;
use crate::testing::browser::Browser;
use crate::testing::fake::refusal;

const PPTP: &str = "passthrough.pptp.enabled";

fn set(key: &str, value: &str) -> Assignment {
    Assignment { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn saving_pptp_tells_the_daemon_exactly_that_and_says_what_is_true_now() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    assert!(browser.body.contains(r#"data-protocol="pptp" data-effect="blocked""#));
    browser.send(browser.form(PPTP).set(PPTP, "true")).await;

    assert_eq!(browser.daemon.state().changes, [(Some(0), vec![set(PPTP, "true")])]);
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "PPTP passthrough is on."));
    assert!(browser.body.contains(r#"data-protocol="pptp" data-effect="ready""#));
    browser.open(HERE).await;
    assert_eq!(browser.flash(), "", "said once");
}

#[tokio::test]
async fn a_form_sent_as_it_came_changes_nothing() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser.send(browser.form(PPTP)).await;
    assert!(browser.daemon.state().changes.is_empty());
    assert!(browser.flash().starts_with("Nothing was changed"), "{}", browser.flash());
}

#[tokio::test]
async fn a_refused_value_comes_back_with_its_message_beside_the_field() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form(PPTP).set(PPTP, "true").set("passthrough.pptp.ports", " 1723, 70000");
    browser.send(form).await;

    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    let sent = vec![set(PPTP, "true"), set("passthrough.pptp.ports", "1723,70000")];
    assert_eq!(browser.daemon.state().changes, [(Some(0), sent)]);
    assert!(browser.body.contains("<title>Error: VPN Passthrough"));
    assert!(browser.body.contains(r##"<a href="#passthrough-pptp-ports">Port 70000 is too high."##));
    assert!(browser.body.contains(r#"id="passthrough-pptp-ports-error">Port 70000 is too high."#));
    let again = browser.form(PPTP);
    assert!(again.body().contains("passthrough.pptp.ports=+1723%2C+70000"), "what was typed is kept");
    assert!(again.body().contains("passthrough.pptp.enabled=true"), "what was ticked is kept");
    // And it can be mended from there.
    browser.send(again.set("passthrough.pptp.ports", "1723, 1724")).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, HERE));
}

#[tokio::test]
async fn a_conflict_shows_who_changed_what_and_both_values() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form(PPTP).set(PPTP, "true");
    browser.daemon.state().save("root", "command line", &[set("passthrough.l2tp.enabled", "false")]).unwrap();
    browser.send(form).await;

    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.daemon.state().changes.is_empty(), "nothing is merged silently");
    assert!(
        browser
            .body
            .contains("Revision 1 by root (command line), 2026-11-18 11:06 UTC. L2TP: on \u{2192} off")
    );
    assert!(browser.body.contains("<th scope=\"row\">L2TP</th><td>off</td><td>on</td>"), "{}", browser.body);
    assert!(browser.body.contains("<th scope=\"row\">PPTP</th><td>off</td><td>on</td>"));
    browser.send(browser.form(PPTP).untick("passthrough.l2tp.enabled")).await;
    assert_eq!(browser.daemon.state().changes, [(Some(1), vec![set(PPTP, "true")])]);
}

#[tokio::test]
async fn what_the_kernel_or_a_trial_refuses_is_said_and_the_choice_is_kept() {
    for (kind, status) in [(RefusalKind::Failed, 502), (RefusalKind::OnTrial, 409)] {
        let mut browser = Browser::logged_in().await;
        browser.open(HERE).await;
        let words = "The firewall refused the new rules, so nothing was changed.";
        browser.daemon.state().refuse = Some(refusal(kind, words));
        browser.send(browser.form(PPTP).set(PPTP, "true")).await;
        assert_eq!(browser.status.as_u16(), status);
        assert!(browser.body.contains(words));
        assert!(browser.form(PPTP).body().contains("pptp.enabled=true"));
    }
}

#[tokio::test]
async fn the_page_says_why_what_is_true_differs() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().reason = Some("This kernel has no PPTP helper.".into());
    browser.daemon.state().open = [3, 0, 0];
    browser.open(HERE).await;
    assert!(browser.body.contains(r#"data-protocol="pptp" data-effect="differs""#));
    assert!(browser.body.contains("This kernel has no PPTP helper."));
    assert!(browser.body.contains(r#"data-protocol="ipsec" data-effect="working" data-open="3""#));
}

#[tokio::test]
async fn hostile_names_are_text() {
    let mut browser = Browser::logged_in().await;
    let hostile = r#"<script>alert(1)</script>" onmouseover='x'"#;
    browser.daemon.state().notices = vec![hostile.into()];
    browser.daemon.state().reason = Some(hostile.into());
    browser.daemon.state().save(hostile, hostile, &[set(PPTP, "true")]).unwrap();
    for path in [HERE, "/"] {
        browser.open(path).await;
        assert!(!browser.body.contains("<script") && !browser.body.contains("\" onmouseover"), "{path}");
        assert!(browser.body.contains("&#60;script&#62;"), "{path}");
    }
}

#[tokio::test]
async fn as_many_devices_as_may_be_fit_into_the_form_ticked_typed_and_first() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let mac = |n: usize| format!("02:00:00:00:{:02x}:{:02x}", n / 256, n % 256);
    let all: Vec<String> = (0..1024).map(mac).collect();
    let form = browser.form(PPTP).set("passthrough.devices", "chosen").set("other_devices", &all.join(", "));
    let form = form.set("passthrough.priority", &all.join(", "));
    browser.send(form).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, HERE));
    let sent = vec![set("passthrough.devices", &all.join(",")), set("passthrough.priority", &all.join(","))];
    assert_eq!(browser.daemon.state().changes, [(Some(0), sent)]);
    // All of them ticked, as a list of devices has it.
    let ticked: String = all.iter().map(|mac| format!("&device.{}=true", mac.replace(':', "%3A"))).collect();
    let form = browser.form(PPTP).set("other_devices", "");
    let body = form.body() + &ticked;
    assert!(body.len() > 64 * 1024, "more than other forms may have: {}", body.len());
    browser.post(HERE, body).await;
    assert_eq!(browser.status, StatusCode::SEE_OTHER, "{}", browser.body);
}

#[tokio::test]
async fn a_mistyped_device_is_named_where_it_was_typed() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let typed = "02:00:00:00:01:65, 02:00:00:00:01:6g";
    browser.send(browser.form(PPTP).set("passthrough.devices", "chosen").set("other_devices", typed)).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    let field = browser.body.find("<textarea id=\"other-devices\"").unwrap();
    let field = &browser.body[field..];
    let field = &field[..field.find("</div>").unwrap()];
    for part in [
        "aria-describedby=\"other-devices-hint passthrough-devices-error\" aria-invalid=\"true\"",
        "id=\"passthrough-devices-error\">\u{201c}02:00:00:00:01:6g\u{201d}: A MAC address",
        typed,
    ] {
        assert!(field.contains(part), "{part}: {field}");
    }
}
